# The sidecar alone, without the fake Azure: one static binary and the roots it trusts, no shell, no credentials.
#
#   docker build -t sidekey .
#   docker run --rm -e AZURE_TENANT_ID -e AZURE_CLIENT_ID -e AZURE_CLIENT_SECRET sidekey search redis
#
# For another processor: --platform linux/arm64, and with buildah 1.28, which does not tell its own platform, also
# --build-arg BUILDPLATFORM=linux/amd64. The compiler runs on the builder's own processor either way.

FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-slim-bookworm AS build
ENV RUSTUP_TOOLCHAIN=1.95.0
ARG TARGETARCH
WORKDIR /build
COPY deploy/target.sh deploy/
# A C compiler for ring. The base image pins it, as far as its tag does.
# hadolint ignore=DL3008,SC2046
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates $(deploy/target.sh --packages "$TARGETARCH") \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(deploy/target.sh "$TARGETARCH")"
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
COPY deploy/build.sh deploy/
# The binary that ships, the same bytes as deploy/build.sh makes elsewhere with the same compilers.
RUN deploy/build.sh "$(deploy/target.sh "$TARGETARCH")" >binary
# 65532 owns the socket's folder, and a volume that is mounted there starts as its copy.
RUN install -D "$(cat binary)" /image/usr/bin/sidekey \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -m 0750 -o 65532 -g 65532 /image/run/sidekey

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sidekey" \
    org.opencontainers.image.description="One sidecar, every Azure Key Vault" \
    org.opencontainers.image.source="https://github.com/sidekey/sidekey" \
    org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
COPY --from=build /image /
USER 65532:65532
# Where the socket is: a shared volume, in a pod.
ENV XDG_RUNTIME_DIR=/run
# Asks /readyz over the socket. An image in OCI's own format has no such thing, Docker's has.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/usr/bin/sidekey", "healthcheck"]
ENTRYPOINT ["/usr/bin/sidekey"]
CMD ["serve"]
