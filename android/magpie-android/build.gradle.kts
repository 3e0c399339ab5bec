plugins {
    alias(libs.plugins.android.library)
    alias(libs.plugins.kotlin.android)
    `maven-publish`
}

android {
    namespace = "dev.magpie.android"
    compileSdk = 35

    defaultConfig {
        // Android 8: the first version with java.nio.file.
        minSdk = 26
        consumerProguardFiles("consumer-rules.pro")
    }

    publishing {
        singleVariant("release") {
            withSourcesJar()
        }
    }
}

kotlin {
    jvmToolchain(17)
    explicitApi()
}

dependencies {
    api(project(":magpie"))
    implementation(libs.coroutines.android)
    implementation("${libs.jna.get()}@aar")
}

// `-Pmagpie.flavour=lean` selects the library that reads only compiled packs.
val native by tasks.registering(Exec::class) {
    description = "Builds the native libraries into src/main/jniLibs."
    workingDir = rootDir
    commandLine("./build-native.sh", providers.gradleProperty("magpie.flavour").getOrElse("full"))
}

tasks.named("preBuild") { dependsOn(native) }

publishing {
    publications.create<MavenPublication>("release") {
        artifactId = "magpie-android"
        afterEvaluate { from(components["release"]) }
        pom {
            name = "Magpie"
            description = "Visual search on the phone"
            licenses {
                license {
                    name = "Apache-2.0 OR MIT"
                }
            }
        }
    }
}
