"""What the commands of the command line do, a file each; a command takes its options and returns its exit status."""
