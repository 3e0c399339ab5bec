// Makes the Android archives and the sample: README.md, "For apps". Maven (pom.xml) builds and tests the same sources
// where there is no Android.
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
include(":magpie-generated", ":magpie", ":magpie-android", ":sample")
project(":magpie-generated").projectDir = file("generated")
