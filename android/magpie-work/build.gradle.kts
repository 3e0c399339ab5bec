plugins {
    alias(libs.plugins.android.library)
    alias(libs.plugins.kotlin.android)
    `maven-publish`
}

android {
    namespace = "dev.magpie.work"
    compileSdk = 35

    defaultConfig {
        minSdk = 26
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
    api(project(":magpie-android"))
    api(libs.work)
}

publishing {
    publications.create<MavenPublication>("release") {
        artifactId = "magpie-work"
        afterEvaluate { from(components["release"]) }
        pom {
            name = "Magpie updates"
            description = "Updates of a visual search catalogue in the background"
            licenses {
                license {
                    name = "Apache-2.0 OR MIT"
                }
            }
        }
    }
}
