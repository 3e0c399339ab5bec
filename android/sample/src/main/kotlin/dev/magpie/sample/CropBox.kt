package dev.magpie.sample

import android.content.Context
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.view.MotionEvent
import android.view.View
import dev.magpie.Crop
import dev.magpie.Frame

/** A square over the preview that marks the part to search with. Drag to move it, pinch to resize it. */
internal class CropBox(context: Context) : View(context) {
    private val frameColour = Paint().apply {
        color = Color.WHITE
        style = Paint.Style.STROKE
        strokeWidth = 3 * resources.displayMetrics.density
    }

    /** The centre as shares of the view's width and height, and half the side as a share of its width. */
    private var centreX = 0.5f
    private var centreY = 0.45f
    private var half = 0.35f

    init {
        contentDescription = "Part of the picture to search with. Drag to move, pinch to resize."
        isFocusable = true
    }

    /** Returns the corresponding crop of a frame that fills the view. */
    fun crop(frame: Frame): Crop {
        val (width, height) = frame.uprightWidth to frame.uprightHeight
        val side = (2 * half * width).toInt().coerceIn(1, minOf(width, height))
        val x = (centreX * width - side / 2f).toInt().coerceIn(0, width - side)
        val y = (centreY * height - side / 2f).toInt().coerceIn(0, height - side)
        return Crop(x, y, side, side)
    }

    override fun onDraw(canvas: Canvas) {
        val reach = half * width
        val (x, y) = centreX * width to centreY * height
        canvas.drawRect(x - reach, y - reach, x + reach, y + reach, frameColour)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        if (event.pointerCount == 2) {
            half = (kotlin.math.abs(event.getX(0) - event.getX(1)) / width / 2).coerceIn(SMALLEST, LARGEST)
        } else {
            centreX = (event.x / width).coerceIn(0f, 1f)
            centreY = (event.y / height).coerceIn(0f, 1f)
        }
        if (event.action == MotionEvent.ACTION_UP) performClick()
        invalidate()
        return true
    }

    override fun performClick(): Boolean {
        super.performClick()
        return true
    }

    private companion object {
        const val SMALLEST = 0.1f
        const val LARGEST = 0.5f
    }
}
