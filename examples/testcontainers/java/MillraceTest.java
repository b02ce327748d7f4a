// A test against Millrace in a container. It needs org.testcontainers:junit-jupiter
// and software.amazon.awssdk:ivs.
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.URI;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.wait.strategy.Wait;
import org.testcontainers.junit.jupiter.Container;
import org.testcontainers.junit.jupiter.Testcontainers;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.ivs.IvsClient;

@Testcontainers
class MillraceTest {
  // Playback URLs have this port, so it is chosen before the container starts.
  static final int port = freePort();
  static final String endpoint = "http://localhost:" + port;

  @Container
  static final GenericContainer<?> millrace = container();

  static GenericContainer<?> container() {
    var container =
        new GenericContainer<>("ghcr.io/millrace/millrace:latest")
            .withEnv("MILLRACE_AUTH", "off")
            .withEnv("MILLRACE_PUBLIC_URL", endpoint)
            .withExposedPorts(8080, 1935)
            .waitingFor(Wait.forHttp("/readyz").forPort(8080));
    container.setPortBindings(List.of(port + ":8080"));
    return container;
  }

  /** A port of this machine that nothing listens on. */
  static int freePort() {
    try (var socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void createsAChannel() {
    try (IvsClient client =
        IvsClient.builder()
            .region(Region.US_WEST_2)
            .endpointOverride(URI.create(endpoint))
            // With MILLRACE_AUTH off, the access key is the account.
            .credentialsProvider(
                StaticCredentialsProvider.create(AwsBasicCredentials.create("000000000000", "any")))
            .build()) {
      var made = client.createChannel(c -> c.name("test").insecureIngest(true));
      assertEquals("test", made.channel().name());
      assertTrue(made.channel().playbackUrl().startsWith(endpoint + "/"));
    }
  }
}
