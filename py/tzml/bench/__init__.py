"""How fast a compiled network is beside other runtimes: CPU time on this machine, instructions on AArch64."""
