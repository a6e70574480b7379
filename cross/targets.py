"""The boards' targets: for which boards, with which tools, and how an emulator runs them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A target triple, and what the scripts beside this one need to know of it."""

    triple: str
    boards: str
    # Debian's name of its architecture.
    deb: str
    # Debian's C compiler that makes code for it.
    gcc: str
    # The oldest CPU of its boards, as rustc and as qemu call it; none where it runs natively.
    cpu: str
    qemu: tuple[str, ...] = ()
    # With zig as linker, which brings musl for it.
    zig: bool = False
    # In Thumb-2, ARM's shorter instructions.
    thumb: bool = False
    # The package's name.
    package: str = "dunlin"

    @property
    def static(self) -> bool:
        return "musl" in self.triple

    @property
    def libraries(self) -> str | None:
        """Where its C library lies, if it comes without."""
        return None if self.static else f"/usr/{self.gcc.removesuffix('-gcc')}"

    @property
    def emulation(self) -> dict[str, str]:
        """The environment in which the kernel starts a program of this target in the emulator."""
        if not self.qemu:
            return {}
        return {"QEMU_CPU": self.qemu[1]} | ({"QEMU_LD_PREFIX": self.libraries} if self.libraries else {})

    @property
    def runner(self) -> list[str]:
        """What a command begins with to run on this target's emulated CPU."""
        if not self.qemu:
            return []
        return [self.qemu[0], "-cpu", self.qemu[1], *(["-L", self.libraries] if self.libraries else [])]


AARCH64 = {"deb": "arm64", "gcc": "aarch64-linux-gnu-gcc", "cpu": "cortex-a53", "qemu": ("qemu-aarch64-static", "cortex-a72")}
ARMV7 = {"deb": "armhf", "gcc": "arm-linux-gnueabihf-gcc", "cpu": "cortex-a7", "qemu": ("qemu-arm-static", "cortex-a7"), "thumb": True}
ARMV6 = {"deb": "armhf", "gcc": "arm-linux-gnueabihf-gcc", "cpu": "arm1176jzf-s", "qemu": ("qemu-arm-static", "arm1176")}

TARGETS = {
    target.triple: target
    for target in (
        Target("aarch64-unknown-linux-gnu", "Raspberry Pi 3, 4, 5, Zero 2 in 64 bit", **AARCH64),
        Target("aarch64-unknown-linux-musl", "the same, whatever the C library", **AARCH64),
        Target("armv7-unknown-linux-gnueabihf", "Raspberry Pi 2, 3, Zero 2 in 32 bit", **ARMV7),
        Target("armv7-unknown-linux-musleabihf", "the same, whatever the C library", **ARMV7, zig=True),
        # The binary for ARM v7 does not run there, though Debian's name of the architecture is the same.
        Target("arm-unknown-linux-musleabihf", "Raspberry Pi 1, Zero", **ARMV6, zig=True, package="dunlin-armv6"),
        Target("x86_64-unknown-linux-gnu", "no board: to measure on this machine", deb="amd64", gcc="gcc", cpu="x86-64"),
    )
}
