package dev.magpie

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import java.io.File
import java.nio.ByteBuffer
import javax.imageio.ImageIO
import kotlin.time.Duration
import kotlin.time.measureTimedValue

private const val WIDTH = 1920
private const val HEIGHT = 1080
private const val RUNS = 300

/**
 * Prints the overhead of Kotlin for a search with a 1080p NV21 frame: the time the caller waits, minus the stages that
 * Rust reports. It consists of coroutines, the crossing in both directions, and building records of the results. On the
 * caller's thread no other thread has to wake up, which takes long on a busy machine.
 *
 * Arguments: model, catalogue, photo.
 */
internal fun main(arguments: Array<String>) = runBlocking {
    val (model, catalog, photo) = arguments.map(::File)
    val image = ImageIO.read(photo)
    val picture = Picture(image.width, image.height) { x, y -> image.getRGB(x, y) }.scaled(WIDTH, HEIGHT)
    val direct = picture.biplanar(WIDTH)
    val heap = ByteBuffer.allocate(direct.capacity()).apply { put(direct.duplicate()).rewind() }
    println("Ten listings, $RUNS searches; min / median / p90 / p99 in microseconds")
    for ((where, dispatcher) in listOf("Default" to Dispatchers.Default, "caller's thread" to Dispatchers.Unconfined)) {
        SearchEngine.open(model, catalog, dispatcher = dispatcher).use { engine ->
            for ((name, bytes) in listOf("direct buffer" to direct, "heap buffer" to heap)) {
                val frame = Frame(Pixels.nv21(bytes, WIDTH, HEIGHT), WIDTH, HEIGHT, rotation = 90)
                val times = List(2 * RUNS) {
                    val (results, all) = measureTimedValue { engine.search(frame) }
                    results.times.total to all - results.times.total
                }.drop(RUNS)
                val (stages, added) = percentiles(times.map { it.first }) to percentiles(times.map { it.second })
                println("$where, $name, ${engine.info.instructions}: stages $stages, added $added")
            }
        }
    }
}

private fun percentiles(times: List<Duration>): String {
    val sorted = times.sorted()
    return listOf(0, 50, 90, 99).joinToString(" / ") { "${sorted[(sorted.size - 1) * it / 100].inWholeMicroseconds}" }
}
