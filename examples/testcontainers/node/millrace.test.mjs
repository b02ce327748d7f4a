// A test against Millrace in a container. It needs the packages testcontainers
// and @aws-sdk/client-ivs: node --test
import assert from "node:assert/strict";
import { test } from "node:test";
import { CreateChannelCommand, IvsClient } from "@aws-sdk/client-ivs";
import { GenericContainer, Wait } from "testcontainers";

test("a channel", async () => {
  const millrace = await new GenericContainer("ghcr.io/millrace/millrace:latest")
    .withEnvironment({ MILLRACE_AUTH: "off" })
    .withExposedPorts(8080, 1935)
    .withWaitStrategy(Wait.forHttp("/readyz", 8080))
    .start();
  try {
    const client = new IvsClient({
      region: "us-west-2",
      endpoint: `http://${millrace.getHost()}:${millrace.getMappedPort(8080)}`,
      credentials: { accessKeyId: "000000000000", secretAccessKey: "any" }, // with MILLRACE_AUTH off: the account
    });
    const { channel, streamKey } = await client.send(new CreateChannelCommand({ name: "test", insecureIngest: true }));
    assert.equal(channel.name, "test");
    assert.match(streamKey.value, /^sk_/);
  } finally {
    await millrace.stop();
  }
});
