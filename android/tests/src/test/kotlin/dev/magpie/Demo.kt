package dev.magpie

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import java.io.File
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

/** The demo catalogue and shoppers' photos: real data, but small. */
internal object Demo {
    /** The repository's root. */
    val root: File = File(property("magpie.repository"))

    /** The folder with the data that the build made for these tests. */
    val data: File = File(property("magpie.data"))

    val pack: File = root.resolve("models/packs/default")

    /** The demo shard, with thumbnails. */
    val catalog: File = data.resolve("demo.magpie")

    /** A shard with only mugs and without the column `shop`: the catalogue of a phone that asks a server. */
    val phone: File = data.resolve("phone.magpie")

    /** Duration of the tests with many threads. */
    val patience: Duration = property("magpie.seconds").toInt().seconds

    /** Returns a shopper's photo. */
    fun photo(name: String): ByteArray = root.resolve("cli/demo/queries/$name").readBytes()

    /** File names of the shoppers' photos, each with the id of the listing that it shows. */
    val queries: Map<String, String> by lazy {
        root.resolve("cli/demo/queries.csv").readLines().drop(1).associate { line ->
            line.split(",").let { (photo, listing) -> photo to listing }
        }
    }

    suspend fun open(): SearchEngine = SearchEngine.open(pack, catalog)

    /** Copies the pack to [folder], with this confidence, and with heads that never reach their threshold. */
    fun calibrated(folder: File, confidence: String): File {
        val manifest = pack.resolve("manifest.json").readText()
        // `confidence` is the manifest's last field.
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

/** Runs a suspending test, with a timeout. */
internal fun suspending(test: suspend CoroutineScope.() -> Unit): Unit =
    runBlocking { withTimeout(2.minutes + Demo.patience) { test() } }

/** Runs a test with an engine on the demo catalogue. */
internal fun withEngine(test: suspend CoroutineScope.(SearchEngine) -> Unit): Unit =
    suspending { Demo.open().use { test(it) } }

/** Runs a test with an engine whose catalogue has only mugs. */
internal fun withPhone(test: suspend CoroutineScope.(SearchEngine) -> Unit): Unit =
    suspending { SearchEngine.open(Demo.pack, Demo.phone).use { test(it) } }
