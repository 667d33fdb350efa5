MNIST = "diagonal B16 28x28 h16"


def measurement(provider, called=100.0, device=20.0, case=MNIST, precision="fp32", status="ok", over=None, bound=False):
    def modes(median):
        entry = {"median": median, "p20": median, "p80": median, "over": over or {}, "bound": bound}
        return dict.fromkeys(("forward", "backward", "forward+backward"), entry)

    names = {"part": "small", "job": f"{case} {precision}", "case": case, "precision": precision, "provider": provider}
    result = {**names, "status": status, "note": "because"}
    return {**result, "called": modes(called), "device": modes(device)} if status == "ok" else result


class Report:
    """Keeps the last report of each provider, which is an implementation that a benchmark measures.

    The first report of a provider must be "running".
    """

    def __init__(self):
        self.results, self.running = {}, []

    def __call__(self, provider, status, note="", **facts):
        if status == "running":
            self.running.append(provider)
        else:
            assert provider in self.running
            self.results[provider] = {"status": status, **({"note": note} if note else {}), **facts}


# Cycles to start a block and to load its 4096 bytes of weights, 32 bytes a cycle.
START = 2000 + 4096 / 32


def plan_text(kernel="forward_bf16_2_1_256_single", blocks=1, threads=256, at_once=132, cycles=600):
    return (
        f"{kernel}: {blocks} block{'s' * (blocks > 1)} an image, {threads} threads, 4096 bytes of shared memory, "
        f"{at_once} at once; expected 0.02 ms, {cycles} cycles a line, by a model, NVRTC 12.9.86"
    )


def layout(provider, us, *, chosen=False, times=True, case="diagonal B16 28x28 h16, forward", **others):
    plan = others.setdefault("plan", plan_text())
    kernels = {"pack_bf16": (1, 2.0), plan.partition(":")[0]: (1, us)} if times else {}
    names = {"job": f"{case} bf16", "case": case, "precision": "bf16", "provider": f"resident:{provider}"}
    measured = {"times": kernels, "call_us": us + 9, "device_us": us + 3, "mhz": 1700.0, "error": 1e-3}
    return {**names, "status": "ok", "chosen": chosen, **measured, **others}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
