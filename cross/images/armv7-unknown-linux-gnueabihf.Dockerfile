FROM debian:bookworm-slim

# gcc and libc6-dev compile what runs while it is built; qemu is for `cross run` and `cross test`.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev qemu-user-static gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
    && rm -rf /var/lib/apt/lists/*

ENV CC_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS="-Cforce-unwind-tables=no -Ctarget-feature=+thumb-mode" \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUNNER="qemu-arm-static -cpu cortex-a7 -L /usr/arm-linux-gnueabihf"
