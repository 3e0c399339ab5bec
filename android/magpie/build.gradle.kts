plugins {
    alias(libs.plugins.kotlin.jvm)
    `maven-publish`
}

kotlin {
    jvmToolchain(17)
    explicitApi()
}

dependencies {
    api(libs.coroutines.core)
    // Not `api`: apps do not see generated code when they compile.
    implementation(project(":magpie-generated"))
    compileOnly(libs.jna)
}

publishing {
    publications.create<MavenPublication>("jar") {
        artifactId = "magpie"
        from(components["java"])
    }
}
