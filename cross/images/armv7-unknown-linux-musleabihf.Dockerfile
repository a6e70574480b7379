FROM debian:bookworm-slim

# gcc and libc6-dev compile what runs while it is built; qemu is for `cross run` and `cross test`.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev qemu-user-static python3-pip \
    && rm -rf /var/lib/apt/lists/*

# zig brings musl for each ARM there is, and a compiler; what it does not know of rustc's arguments
# cargo-zigbuild takes out.
RUN pip install --no-cache-dir --break-system-packages ziglang==0.17.1 cargo-zigbuild==0.24.0 \
    && printf '#!/bin/sh\nexec cargo-zigbuild zig cc -- -target arm-linux-musleabihf -mcpu=generic+v7a+vfp3d16 "$@"\n' > /usr/local/bin/zig-cc \
    && chmod +x /usr/local/bin/zig-cc
ENV CC_armv7_unknown_linux_musleabihf=zig-cc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_LINKER=zig-cc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_RUSTFLAGS="-Clink-self-contained=no -Cforce-unwind-tables=no -Ctarget-feature=+thumb-mode" \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_RUNNER="qemu-arm-static -cpu cortex-a7"
