// The code that uniffi generates from `bindings`; `cargo xtask bindings` writes it.
plugins {
    alias(libs.plugins.kotlin.jvm)
    `maven-publish`
}

kotlin {
    jvmToolchain(17)
}

sourceSets.main {
    kotlin.srcDir(rootDir.resolve("../target/bindings/kotlin"))
}

dependencies {
    // Apps on Android use JNA's Android archive instead of the jar.
    compileOnly(libs.jna)
}

publishing {
    publications.create<MavenPublication>("jar") {
        artifactId = "magpie-generated"
        from(components["java"])
    }
}
