# docker build -t millrace .                    with ffmpeg: channels have several qualities
# docker build -t millrace --target minimal .   the program alone: broadcasts are shown as they come
# docker run --name millrace -p 8080:8080 -p 1935:1935 -p 1936:1936 -v millrace:/data millrace
# docker exec millrace millrace env             the access key, and a link that signs in to the console
# docker exec millrace millrace channel create mine --insecure-ingest
# Settings are flags, variables of the environment, or a file of your own in place of
# /etc/millrace/millrace.yaml.
FROM --platform=$BUILDPLATFORM node:20-slim AS console
WORKDIR /src/console
COPY console/package.json console/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY console .
COPY player ../player
RUN npm run build

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=console /src/internal/console/dist internal/console/dist
ARG VERSION=dev TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /millrace ./cmd/millrace && mkdir /data

FROM scratch AS minimal
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /millrace /usr/bin/millrace
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
COPY packaging/container/millrace.yaml /etc/millrace/
ENV MILLRACE_DATA=/data MILLRACE_CONFIG=/etc/millrace/millrace.yaml
EXPOSE 8080 1935 1936
VOLUME /data
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/bin/millrace", "healthcheck"]
ENTRYPOINT ["/usr/bin/millrace"]
CMD ["serve"]

FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates ffmpeg fonts-dejavu-core && rm -rf /var/lib/apt/lists/*
COPY --from=build /millrace /usr/bin/millrace
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
COPY packaging/container/millrace.yaml /etc/millrace/
ENV MILLRACE_DATA=/data MILLRACE_CONFIG=/etc/millrace/millrace.yaml
EXPOSE 8080 1935 1936
VOLUME /data
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/bin/millrace", "healthcheck"]
ENTRYPOINT ["/usr/bin/millrace"]
CMD ["serve"]
