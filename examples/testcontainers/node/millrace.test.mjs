// A test against Millrace in a container. It needs the packages testcontainers
// and @aws-sdk/client-ivs: node --test
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { CreateChannelCommand, IvsClient } from "@aws-sdk/client-ivs";
import { GenericContainer, Wait } from "testcontainers";

test("a channel", async () => {
  const port = await freePort(); // playback URLs have it, so it is chosen before the container starts
  const endpoint = `http://localhost:${port}`;
  const millrace = await new GenericContainer("ghcr.io/millrace/millrace:latest")
    .withEnvironment({ MILLRACE_AUTH: "off", MILLRACE_PUBLIC_URL: endpoint })
    .withExposedPorts({ container: 8080, host: port }, 1935)
    .withWaitStrategy(Wait.forHttp("/readyz", 8080))
    .start();
  try {
    const client = new IvsClient({
      region: "us-west-2",
      endpoint,
      credentials: { accessKeyId: "000000000000", secretAccessKey: "any" }, // with MILLRACE_AUTH off: the account
    });
    const { channel, streamKey } = await client.send(new CreateChannelCommand({ name: "test", insecureIngest: true }));
    assert.equal(channel.name, "test");
    assert.match(streamKey.value, /^sk_/);
    assert.ok(channel.playbackUrl.startsWith(`${endpoint}/`));
    console.log(`publish to rtmp://${millrace.getHost()}:${millrace.getMappedPort(1935)}/app/${streamKey.value}, play ${channel.playbackUrl}`);
  } finally {
    await millrace.stop();
  }
});

/** A port of this machine that nothing listens on. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
