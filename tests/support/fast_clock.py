"""A clock for the daemon alone that runs as fast as the test says: fast_clock.c, built and preloaded."""

import mmap
import os
import shutil
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class FastClock:
    """env is for the daemon; set(10) lets ten of its seconds pass in each of ours."""

    def __init__(self, folder):
        library = os.path.join(folder, "fast_clock.so")
        path = os.path.join(folder, "fast_clock")
        compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
        subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library,
                        os.path.join(HERE, "fast_clock.c")], check=True)
        with open(path, "w+b") as file:
            file.write(struct.pack("=d", 1.0))
            file.flush()
            self.memory = mmap.mmap(file.fileno(), 8)
        # A sanitizer wants to be the first library, and is told that it need not be.
        options = os.environ.get("ASAN_OPTIONS", "exitcode=99:detect_leaks=1") + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": library, "FAST_CLOCK_FILE": path, "ASAN_OPTIONS": options}
        self.factor = 1.0

    def set(self, factor, *nomads):
        """The fakes hold and beat by the same clock."""
        self.factor = float(factor)
        self.memory[:] = struct.pack("=d", self.factor)
        for nomad in nomads:
            nomad.hurry = self.factor
