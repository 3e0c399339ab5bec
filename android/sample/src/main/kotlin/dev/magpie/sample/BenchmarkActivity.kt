package dev.magpie.sample

import android.app.Activity
import android.os.Bundle
import android.widget.ScrollView
import android.widget.TextView
import dev.magpie.Benchmark
import dev.magpie.MagpieException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlin.time.DurationUnit.MILLISECONDS

/** Shows how long each stage of a search takes on this phone, measured with a picture of the catalogue. */
class BenchmarkActivity : Activity() {
    private val scope = CoroutineScope(Job() + Dispatchers.Main)

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        title = "Benchmark"
        val text = TextView(this).apply {
            text = "Measuring $RUNS searches…"
            setTextIsSelectable(true)
            textSize = 16f
        }
        setContentView(ScrollView(this).apply { addView(text) })
        scope.launch {
            text.text = try {
                val engine = Store.engine(this@BenchmarkActivity)
                val photo = assets.open("magpie/benchmark.jpg").use { it.readBytes() }
                table(engine.benchmark(photo, RUNS))
            } catch (e: MagpieException) {
                "Failed: ${e.message}"
            }
        }
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private fun table(benchmark: Benchmark): String = buildString {
        appendLine("${benchmark.photos} photos, network on ${benchmark.instructions}")
        appendLine("opened in ${benchmark.openTime}, memory ${(benchmark.residentBytes ?: 0) / 1_000_000} MB")
        appendLine()
        for (stage in benchmark.stages) {
            val times = listOf(stage.p50, stage.p90, stage.p99).joinToString(" / ") { it.toString(MILLISECONDS, 2) }
            appendLine("${stage.stage}: $times")
        }
        appendLine()
        append("median / p90 / p99")
    }

    private companion object {
        const val RUNS = 100
    }
}
