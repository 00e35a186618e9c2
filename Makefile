# Doors by the names that people expect. What they do stands in xtask: `cargo xtask` lists it.

.PHONY: bench-smoke

# Short runs of the lab's suites, compared with sysbench's own output and the kernel's counters (as root).
bench-smoke:
	cargo xtask e2e _lab::
