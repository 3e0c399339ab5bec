plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "dev.magpie.sample"
    compileSdk = 35

    defaultConfig {
        applicationId = "dev.magpie.sample"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "0.1.0"
        // JNA also ships other ABIs, which Magpie is not built for.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildTypes {
        release {
            // No rules here: the library's own must be enough.
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
            signingConfig = signingConfigs.getByName("debug")
        }
    }

    // These files are already compressed.
    androidResources { noCompress += listOf("magpie", "onnx") }
    sourceSets["main"].assets.srcDir(layout.buildDirectory.dir("demo"))
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    implementation(project(":magpie-android"))
    implementation(libs.coroutines.android)
}

// The demo catalogue and its model, laid out as `installMagpieAssets` expects.
val repository = rootDir.resolve("..")
val catalog by tasks.registering(Exec::class) {
    val shard = layout.buildDirectory.file("demo/magpie/catalog.magpie").get().asFile
    outputs.file(shard)
    workingDir = repository
    doFirst { shard.parentFile.mkdirs() }
    commandLine(
        "cargo", "run", "--release", "--locked", "--package", "magpie-cli", "--", "build", "--catalog",
        "cli/demo/catalog.csv", "--images", "cli/demo/photos", "--thumbnails", "128", "--out", shard.path,
    )
}
val demo by tasks.registering(Copy::class) {
    dependsOn(catalog)
    into(layout.buildDirectory.dir("demo/magpie"))
    from(repository.resolve("models/packs/default")) {
        include("manifest.json", "model.onnx")
        into("model")
    }
    from(repository.resolve("cli/demo/queries/mug-01.jpg")) { rename { "benchmark.jpg" } }
}
tasks.named("preBuild") { dependsOn(demo) }
