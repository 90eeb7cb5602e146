# The sidecar alone, without the fake Azure: one static binary and the roots it trusts, no shell, no credentials.
#
#   docker build -t sidekey .
#   docker run --rm -e AZURE_TENANT_ID -e AZURE_CLIENT_ID -e AZURE_CLIENT_SECRET sidekey search redis

FROM docker.io/library/rust:1.95-slim-bookworm AS build
# A C compiler for musl, which ring is built with. The base image pins it, as far as its tag does.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/*
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
RUN target="$(uname -m)-unknown-linux-musl" \
    && cargo build --locked --profile dist --no-default-features --bin sidekey --target "$target" \
    && install -D "target/$target/dist/sidekey" /image/usr/bin/sidekey \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -m 0750 -o 65532 -g 65532 /image/run/sidekey \
    && install -d -m 1777 /image/tmp

FROM scratch
COPY --from=build /image /
USER 65532:65532
# Where the socket is: a shared volume, in a pod.
ENV XDG_RUNTIME_DIR=/run
ENTRYPOINT ["/usr/bin/sidekey"]
CMD ["serve"]
