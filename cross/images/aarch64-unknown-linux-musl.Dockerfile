FROM debian:bookworm-slim

# gcc and libc6-dev compile what runs while it is built; qemu is for `cross run` and `cross test`.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
    && rm -rf /var/lib/apt/lists/*

# ring needs a C compiler, but nothing of a C library: Rust brings musl and the linker.
ENV CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Cforce-unwind-tables=no" \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="qemu-aarch64-static -cpu cortex-a72"
