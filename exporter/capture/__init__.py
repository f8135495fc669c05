"""Sources of frames and tallies: live interfaces, capture files, the kernel's own counts."""
