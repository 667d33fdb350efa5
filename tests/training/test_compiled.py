from unittest.mock import Mock

import pytest
import torch

from helpers.tiny import (
    SINGLE_PROCESS,
    assert_same,
    assert_same_checkpoints,
    resumed_training,
    stop_before,
    tiny_training,
)
from pixelrnn_ext.training import checkpoint, compiled
from pixelrnn_ext.training.distributed import World

# All tests share one compiled graph, because a compilation takes seconds.
OPTIONS = dict(conditional=True, steps=6, optimiser="adamw", ema=0.9)
STAYS = "the training step stays uncompiled"
NO_COMPILER = "no compiler\nin a file of torch"


@pytest.fixture(autouse=True, scope="module")
def _no_graphs_of_other_tests():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr(torch, "compile", Mock(side_effect=RuntimeError(NO_COMPILER)))


def trained(out, **options):
    """Trains to the end. Returns the training, and its log messages without the lines that report an epoch."""
    training = tiny_training(out, log=(said := []), **OPTIONS | options)
    assert training.run()
    return training, [line for line in said if not line.startswith("epoch")]


def interrupted(out, step=3, **options):
    training = tiny_training(out, **OPTIONS | options)
    assert not training.run(stop_before(step, training))


def resumed(out, **options):
    training = resumed_training(out, log=(said := []), **OPTIONS | options)
    assert training.run()
    return training, [line for line in said if not line.startswith("epoch")]


class Pool:
    """Stands in for a compiled loss whose CUDA graphs have a memory pool: a call overwrites the last call's outputs."""

    def __init__(self, loss):
        self._forward, self._outputs = loss.forward, []
        for parameter in loss.parameters():
            parameter.register_hook(self.in_pool)

    def in_pool(self, output):
        self._outputs.append(output.detach().clone())
        return self._outputs[-1].view_as(output)  # AccumulateGrad keeps a new view as it is

    def __call__(self, *inputs):
        for output in self._outputs:
            output.fill_(torch.nan)
        loss = self._forward(*inputs)
        self._outputs = [loss.detach()]
        return loss


def compile_to_pool(loss, step, device):
    loss.forward = Pool(loss)
    step()


def stored(out, name=checkpoint.LAST):
    return checkpoint.load(out / name)[1]["compiled"]


@pytest.mark.sweep  # the compiler takes half a minute
def test_a_resumed_compiled_training_is_the_same_to_the_bit(tmp_path):
    straight, said = trained(tmp_path / "straight", compile="on")
    (line,) = said
    assert line.startswith("the training step was compiled in ") and line.endswith(" s, as --compile on asks")
    interrupted(tmp_path / "resumed", compile="on")
    assert stored(tmp_path / "resumed")
    torch._dynamo.reset()  # as in a new process
    second, said = resumed(tmp_path / "resumed", compile="on")
    assert said[0].endswith(" s, as before")
    assert_same_checkpoints(straight.out, second.out)
    assert all(stored(out, name) for out in (straight.out, second.out) for name in (checkpoint.LAST, checkpoint.BEST))

    eager, said = trained(tmp_path / "eager")
    assert not said and not stored(eager.out)
    expected, got = (checkpoint.load(out / checkpoint.LAST)[0] for out in (eager.out, straight.out))
    # A compiled training stores tensors under the same names as an uncompiled one, without torch.compile's prefix.
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    assert "forward" not in vars(eager.loss) and "forward" in vars(straight.loss)


def test_parts_of_a_batch_do_not_overwrite_gradients_in_the_pool_of_cuda_graphs(tmp_path, monkeypatch):
    def steps(compile):
        training = tiny_training(tmp_path, **OPTIONS, batch_size=6, accumulate=3, compile=compile)
        unused = torch.ones(2, requires_grad=True)
        training.parameters.append(unused)
        training.optimiser.add_param_group({"params": [unused]})
        training._compile()
        losses = [float(training._step(step)) for step in range(3)]
        assert unused.tolist() == [1, 1] and bool(training.compiled) is (compile == "on")
        return losses, training.model.state_dict()

    losses, expected = steps("off")
    monkeypatch.setattr(compiled, "_compile", compile_to_pool)
    monkeypatch.setattr(compiled, "overwrites_outputs", lambda device: True)
    pooled_losses, got = steps("on")
    assert pooled_losses == losses
    assert_same(expected, got)


def test_a_training_is_not_compiled_without_a_compiler(tmp_path, broken):
    with pytest.raises(
        ValueError, match="^expected torch.compile to work for --compile on, got no compiler; --compile"
    ):
        trained(tmp_path / "on", compile="on")
    assert not (tmp_path / "on").exists()


def test_a_compiled_training_goes_on_without_a_compiler_only_if_asked(tmp_path, monkeypatch, request):
    interrupted(tmp_path, compile="on")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    request.getfixturevalue("broken")
    with pytest.raises(ValueError, match="as in the steps before, got no compiler; --resume --compile off goes on"):
        resumed(tmp_path, compile="on")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    training, said = resumed(tmp_path, compile="off")
    assert not said and training.compiled is stored(tmp_path) is False


def test_a_switch_that_turns_compiling_off_is_seen(tmp_path):
    expected = pytest.raises(ValueError, match="got a torch.compile that is switched off; --compile off trains")
    with torch.compiler.set_stance("force_eager"), expected:
        trained(tmp_path, compile="on")


def test_cuda_graphs_are_for_gpus():
    mode = torch._inductor.list_mode_options("reduce-overhead")
    assert compiled.overwrites_outputs(torch.device("cuda")) and not compiled.overwrites_outputs(torch.device("cpu"))
    assert compiled.options_for(torch.device("cuda")) == {"deterministic": True} | mode
    assert compiled.options_for(torch.device("cpu")) == {"deterministic": True}


def test_all_processes_choose_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "any", lambda world, flag: True)
    monkeypatch.setattr(compiled, "_compile", lambda loss, step, device: None)
    training = tiny_training(tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="got another process that cannot compile"):
        compiled.choose("on", None, training.loss, training._discarded_step, SINGLE_PROCESS)


def test_a_checkpoint_without_the_choice_was_not_compiled(tmp_path):
    interrupted(tmp_path)
    tensors, facts = checkpoint.load(tmp_path / checkpoint.LAST)
    del facts["compiled"]
    checkpoint.save(tmp_path / checkpoint.LAST, tensors, facts)
    _, (line,) = resumed(tmp_path, compile="on")
    assert line == f"{STAYS}, as before" and not stored(tmp_path)


def test_an_error_of_the_model_is_not_one_of_the_compiler(tmp_path):
    with pytest.raises(ValueError, match="^expected H and W to be multiples of factor 2, got 4 x 5$"):
        tiny_training(tmp_path, model="multiscale", compile="on").run()
