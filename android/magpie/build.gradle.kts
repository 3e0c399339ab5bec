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
    // Not `api`: the generated code stays off the apps' compile classpath.
    implementation(project(":magpie-generated"))
    compileOnly(libs.jna)
}

publishing {
    publications.create<MavenPublication>("jar") {
        artifactId = "magpie"
        from(components["java"])
    }
}
