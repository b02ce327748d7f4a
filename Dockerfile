# docker build -t millrace . && docker run -p 8080:8080 -p 1935:1935 -p 1936:1936 -v millrace:/data millrace
#
# There is no ffmpeg in this image, so broadcasts are shown as they come. For
# renditions, put /millrace into an image that has one.
FROM node:20-slim AS console
WORKDIR /src/console
COPY console/package.json console/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY console .
COPY player ../player
RUN npm run build

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=console /src/internal/console/dist internal/console/dist
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /millrace ./cmd/millrace && mkdir /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /millrace /millrace
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
ENV MILLRACE_DATA=/data MILLRACE_HTTP=:8080 MILLRACE_RTMP=:1935 MILLRACE_RTMPS=:1936
EXPOSE 8080 1935 1936
VOLUME /data
ENTRYPOINT ["/millrace"]
CMD ["serve"]
