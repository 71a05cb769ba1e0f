# Two stages: the compiler stays behind, the image holds the binary and nothing else that is ours.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Shown by `gyre --version`; give it with --build-arg REVISION=$(git rev-parse HEAD).
ARG REVISION=unknown
RUN GYRE_BUILD_REVISION="$REVISION" cargo build --release --locked --bin gyre \
    && mkdir -p /image/data && cp target/release/gyre /image/gyre

# Has a C library, certificates and a user without rights, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/gyre /usr/local/bin/gyre
# A volume mounted here inherits its owner.
COPY --from=build --chown=nonroot:nonroot /image/data /data
VOLUME /data
EXPOSE 9009
ENV GYRE_DATA_DIR=/data GYRE_HTTP_LISTEN=0.0.0.0:9009
ENTRYPOINT ["/usr/local/bin/gyre"]
