package dev.magpie

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.magpie.internal.Benchmark as RustBenchmark
import dev.magpie.internal.EngineInfo as RustInfo

/**
 * What an engine has open.
 *
 * @property version version of this library
 * @property model name of the model
 * @property modelId identifies network and preprocessing: 64 hexadecimal digits
 * @property inputWidth width of the network's input in pixels
 * @property inputHeight height of the network's input in pixels
 * @property instructions the instruction set that the network runs on
 * @property catalog name of the catalogue
 * @property listings listings in it
 * @property photos photos of them
 * @property fields names of a listing's fields
 * @property hasThumbnails whether the catalogue has thumbnails
 * @property columns what a [Filter] can name
 * @property openTime how long opening took
 */
public data class EngineInfo(
    val version: String,
    val model: String,
    val modelId: String,
    val inputWidth: Int,
    val inputHeight: Int,
    val instructions: String,
    val catalog: String,
    val listings: Long,
    val photos: Long,
    val fields: List<String>,
    val hasThumbnails: Boolean,
    val columns: List<Column>,
    val openTime: Duration,
)

/**
 * A column that a [Filter] can name.
 *
 * @property name its name
 * @property isNumber whether it holds numbers, which can be compared by size, rather than words
 */
public data class Column(val name: String, val isNumber: Boolean)

/**
 * What [SearchEngine.benchmark] measured.
 *
 * @property runs searches that were measured
 * @property stages percentiles of each stage, and of all together
 * @property openTime how long opening the engine took
 * @property residentBytes physical memory of the process after the searches, where the system tells
 * @property instructions the instruction set that the network runs on
 * @property photos photos in the catalogue
 * @property json all of this as one line of JSON, with times in milliseconds
 */
public data class Benchmark(
    val runs: Int,
    val stages: List<StageTime>,
    val openTime: Duration,
    val residentBytes: Long?,
    val instructions: String,
    val photos: Long,
    val json: String,
)

/**
 * Percentiles of one stage.
 *
 * @property stage `decode`, `prepare`, `network`, `search`, `listings`, or `together`
 * @property p50 the median
 * @property p90 nine in ten took no longer
 * @property p99 99 in a hundred took no longer
 */
public data class StageTime(val stage: String, val p50: Duration, val p90: Duration, val p99: Duration)

internal fun RustInfo.public(): EngineInfo = EngineInfo(
    version = version,
    model = model,
    modelId = modelId,
    inputWidth = inputWidth.toInt(),
    inputHeight = inputHeight.toInt(),
    instructions = instructions,
    catalog = catalog,
    listings = listings.toLong(),
    photos = photos.toLong(),
    fields = fields,
    hasThumbnails = hasThumbnails,
    columns = columns.map { Column(it.name, it.isNumber) },
    openTime = openMs.milliseconds,
)

internal fun RustBenchmark.public(): Benchmark = Benchmark(
    runs = runs.toInt(),
    stages = stages.map {
        StageTime(it.stage, it.p50Ms.milliseconds, it.p90Ms.milliseconds, it.p99Ms.milliseconds)
    },
    openTime = openMs.milliseconds,
    residentBytes = residentBytes?.toLong(),
    instructions = instructions,
    photos = photos.toLong(),
    json = json,
)
