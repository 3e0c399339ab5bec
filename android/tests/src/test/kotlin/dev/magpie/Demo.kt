package dev.magpie

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import java.io.File
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

/** The demo catalogue and its shoppers' photos: the real thing, small. */
internal object Demo {
    /** Of the repository. */
    val root: File = File(property("magpie.repository"))

    /** What the build made for these tests. */
    val data: File = File(property("magpie.data"))

    val pack: File = root.resolve("models/packs/default")

    /** The demo's shard, with thumbnails. */
    val catalog: File = data.resolve("demo.magpie")

    /** Mugs alone, without the column `shop`: what a phone has that asks a server. */
    val phone: File = data.resolve("phone.magpie")

    /** How long tests with many threads go on. */
    val patience: Duration = property("magpie.seconds").toInt().seconds

    /** A shopper's photo. */
    fun photo(name: String): ByteArray = root.resolve("cli/demo/queries/$name").readBytes()

    /** Shoppers' photos by name, each with the listing that it shows. */
    val queries: Map<String, String> by lazy {
        root.resolve("cli/demo/queries.csv").readLines().drop(1).associate { line ->
            line.split(",").let { (photo, listing) -> photo to listing }
        }
    }

    suspend fun open(): SearchEngine = SearchEngine.open(pack, catalog)

    /** The pack in another folder, with this confidence, and heads that are sure of nothing. */
    fun calibrated(folder: File, confidence: String): File {
        val manifest = pack.resolve("manifest.json").readText()
        // It is the manifest's last field.
        val before = manifest.substringBefore("\"confidence\"")
        val unsure =
            if ("\"threshold\"" in before) {
                before.replace(Regex("\"threshold\": [0-9.]+"), "\"threshold\": 1.0")
            } else {
                before.replace("\"labels\"", "\"threshold\": 1.0, \"labels\"")
            }
        folder.resolve("manifest.json").writeText("$unsure\"confidence\": $confidence}")
        pack.resolve("model.onnx").copyTo(folder.resolve("model.onnx"))
        return folder
    }

    private fun property(name: String) = checkNotNull(System.getProperty(name)) { "no system property $name" }
}

/** Runs a test that suspends; one that hangs fails. */
internal fun suspending(test: suspend CoroutineScope.() -> Unit): Unit =
    runBlocking { withTimeout(2.minutes + Demo.patience) { test() } }

/** With the demo's engine. */
internal fun withEngine(test: suspend CoroutineScope.(SearchEngine) -> Unit): Unit =
    suspending { Demo.open().use { test(it) } }

/** With an engine that has mugs only. */
internal fun withPhone(test: suspend CoroutineScope.(SearchEngine) -> Unit): Unit =
    suspending { SearchEngine.open(Demo.pack, Demo.phone).use { test(it) } }
