// A test against Millrace in a container. It needs org.testcontainers:junit-jupiter
// and software.amazon.awssdk:ivs.
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.net.URI;
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
  @Container
  static final GenericContainer<?> millrace =
      new GenericContainer<>("ghcr.io/millrace/millrace:latest")
          .withEnv("MILLRACE_AUTH", "off")
          .withExposedPorts(8080, 1935)
          .waitingFor(Wait.forHttp("/readyz").forPort(8080));

  @Test
  void createsAChannel() {
    URI endpoint = URI.create("http://" + millrace.getHost() + ":" + millrace.getMappedPort(8080));
    try (IvsClient client =
        IvsClient.builder()
            .region(Region.US_WEST_2)
            .endpointOverride(endpoint)
            // With MILLRACE_AUTH off, the access key is the account.
            .credentialsProvider(
                StaticCredentialsProvider.create(AwsBasicCredentials.create("000000000000", "any")))
            .build()) {
      var made = client.createChannel(c -> c.name("test").insecureIngest(true));
      assertEquals("test", made.channel().name());
    }
  }
}
