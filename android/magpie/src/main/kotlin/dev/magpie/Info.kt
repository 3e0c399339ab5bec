package dev.magpie

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.magpie.internal.Benchmark as RustBenchmark
import dev.magpie.internal.EngineInfo as RustInfo

/**
 * What an engine has opened.
 *
 * @property version version of this library
 * @property model name of the model
 * @property modelId identifies network and preprocessing: 64 hexadecimal digits
 * @property inputWidth width of the network's input, in pixels
 * @property inputHeight height of the network's input, in pixels
 * @property instructions the instruction set that the network uses
 * @property catalog name of the catalogue
 * @property listings number of listings in the catalogue
 * @property photos number of photos in the catalogue
 * @property fields names of the listings' fields
 * @property hasThumbnails whether the catalogue contains thumbnails
 * @property columns the columns that a [Filter] can name
 * @property openTime how long opening took
 */
public data class EngineInfo(
    val version: String = "",
    val model: String = "",
    val modelId: String = "",
    val inputWidth: Int = 0,
    val inputHeight: Int = 0,
    val instructions: String = "",
    val catalog: String = "",
    val listings: Long = 0,
    val photos: Long = 0,
    val fields: List<String> = emptyList(),
    val hasThumbnails: Boolean = false,
    val columns: List<Column> = emptyList(),
    val openTime: Duration = Duration.ZERO,
)

/**
 * A column that a [Filter] can name.
 *
 * @property name the column's name
 * @property isNumber whether it holds numbers, which can be compared by size, rather than words
 */
public data class Column(val name: String, val isNumber: Boolean)

/**
 * The measurements of [SearchEngine.benchmark].
 *
 * @property runs number of measured searches
 * @property stages percentiles of each stage and of their total
 * @property openTime how long opening the engine took
 * @property residentBytes resident memory of the process after the searches; null if the system does not report it
 * @property instructions the instruction set that the network uses
 * @property photos number of photos in the catalogue
 * @property json all of this as one line of JSON, with times in milliseconds
 */
public data class Benchmark(
    val runs: Int,
    val stages: List<StageTime>,
    val openTime: Duration = Duration.ZERO,
    val residentBytes: Long? = null,
    val instructions: String = "",
    val photos: Long = 0,
    val json: String = "",
)

/**
 * Percentiles of the time of one stage.
 *
 * @property stage `decode`, `prepare`, `network`, `search`, `listings`, or `together`
 * @property p50 the median
 * @property p90 90th percentile
 * @property p99 99th percentile
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
