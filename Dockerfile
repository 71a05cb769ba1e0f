# Two stages: the compiler stays behind, the image holds the binary and nothing else that is ours.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Shown by `gyre --version`; give it with --build-arg REVISION=$(git rev-parse HEAD).
ARG REVISION=unknown
# --build-arg FEATURES=cloud for s3://, gs:// and az://.
ARG FEATURES=
RUN GYRE_BUILD_REVISION="$REVISION" cargo build --release --locked --bin gyre --features "$FEATURES" \
    && mkdir -p /image/data && cp target/release/gyre /image/gyre

FROM debian:bookworm-slim
# Whom to trust: object stores are behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A user without rights, by number, so that Kubernetes can see that it is none of the root's.
USER 65532:65532
COPY --from=build /image/gyre /usr/local/bin/gyre
# Whom to trust: an object store is talked to over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A volume mounted here inherits its owner. The bucket is for several nodes on one machine.
COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build --chown=65532:65532 /image/data /bucket
VOLUME /data
EXPOSE 9009 9010 9011/udp
ENV GYRE_DATA_DIR=/data GYRE_HTTP_LISTEN=0.0.0.0:9009
ENTRYPOINT ["/usr/local/bin/gyre"]
