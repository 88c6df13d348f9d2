/** MMX and SSE instructions, by subject, and their helpers. Importing this puts them into the table. */
import './sse-move.ts';
import './sse-shuffle.ts';
import './sse-integer.ts';
import './sse-float.ts';
import './sse-convert.ts';
import './sse-string.ts';
import './mmx.ts';
import '../simd/helpers.ts';
