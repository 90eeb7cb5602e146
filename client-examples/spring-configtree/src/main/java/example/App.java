package example;

import java.nio.charset.StandardCharsets;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;
import org.springframework.context.annotation.Bean;

/** An app like any other: it knows its properties and nothing of sidekey. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class App {
    @ConfigurationProperties("payments")
    record Payments(String dbPassword, String signingKey) {}

    public static void main(String[] args) {
        SpringApplication.run(App.class, args);
    }

    /** In the place of work: tells what it was given, for the test. */
    @Bean
    CommandLineRunner work(Payments payments) {
        return args -> {
            System.out.write((payments.dbPassword() + "|" + payments.signingKey()).getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        };
    }
}
