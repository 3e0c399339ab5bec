// Builds the Android archives and the sample: README.md, "Building for apps". Maven (pom.xml) builds and tests the same
// sources without Android.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "magpie"
include(":magpie-generated", ":magpie", ":magpie-android", ":magpie-work", ":sample")
project(":magpie-generated").projectDir = file("generated")
