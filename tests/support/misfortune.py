"""Bad luck for one daemon: allocations that fail, a kernel that is full, a wall clock that jumps (misfortune.c)."""

import contextlib
import mmap
import os
import shutil
import struct
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "misfortune.c")
ORDERS = struct.Struct("=QQqQQ")  # struct orders of misfortune.c
FIELDS = ("allocation_one_in", "send_one_in", "wall_shift_s", "failed_allocations", "failed_sends")


def build(folder):
    """The library to be preloaded."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    library = os.path.join(folder, "misfortune.so")
    subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


class Misfortune:
    """What happens to a daemon that was started with environment()."""

    def __init__(self, library, folder):
        self.library = library
        self.path = os.path.join(folder, "misfortune")
        with open(self.path, "w+b") as file:
            file.truncate(ORDERS.size)
            self.memory = mmap.mmap(file.fileno(), ORDERS.size)

    def environment(self):
        return {"LD_PRELOAD": str(self.library), "MISFORTUNE_FILE": self.path}

    def order(self, **fields):
        """One number of eight bytes each, so that nothing is seen half written."""
        for name, value in fields.items():
            struct.pack_into("=q", self.memory, 8 * FIELDS.index(name), value)

    def count(self, name):
        return struct.unpack_from("=Q", self.memory, 8 * FIELDS.index(name))[0]

    @contextlib.contextmanager
    def lasting(self, **fields):
        """The orders while it lasts; none afterwards."""
        self.order(**fields)
        try:
            yield self
        finally:
            self.order(**dict.fromkeys(fields, 0))
