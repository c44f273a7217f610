// log-lines.js — what records mean in their places: which are pieces of one long line, how text is written where a
// record begins, which belong to one call of a tool. A page goes on where the page before it ended, if that is there;
// when it comes later, the pages behind it are read anew.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const { behind, cutTorn, textOf, jsonOf, parsed, toolOf } = wakeful.logText;
  const CALL_MIN = 20; // records; longer calls are folded
  const CALL_MAX = 10_000; // records of one fold: what is folded is read to find its end
  const PIECES_MAX = 64; // of one line; the next begins a line of its own
  const ROW_MAX = 256 * 1024; // characters of a row of an unfolded line
  const JSON_MAX = 1024 * 1024; // characters of a line that is read as JSON

  /** How things stand between two records: pens and open lines by stream, the call that may go on. */
  const begin = () => ({ pens: {}, open: {}, call: null });
  const keyOf = ({ pens, open, call }) => JSON.stringify([pens, Object.entries(open).map(([stream, line]) => [stream, line?.head]), call]);

  /** Pages keep how they ended: whoever goes on from there must not change it. */
  const copy = ({ pens, open, call }) => ({ pens: { ...pens }, open: { ...open }, call: call && { ...call } });

  class LogLines {
    constructor(records) {
      this.records = records;
      this.pieces = new Map(); // line → the long line that its record is a piece of
      this.calls = new Map(); // first line → {from, to, id} of calls to be folded
    }

    /** Reads a page, and those behind it that it changes. Returns the lines that may stand otherwise now. */
    read(page) {
      let { from, to } = page;
      for (;;) {
        const changed = this.readOne(page);
        [from, to] = [Math.min(from, changed.from), Math.max(to, changed.to)];
        const next = this.records.of(page.to + 1);
        if (!next || (!page.exit.call && next.entry === keyOf(page.exit))) return { from, to };
        page = next;
      }
    }

    readOne(page) {
      const before = page.from > 1 ? this.records.of(page.from - 1)?.exit : null;
      const state = copy(before ?? this.around(page.from));
      let { from, to } = page;
      for (const call of this.callsOf(page)) {
        this.calls.delete(call.from);
        to = Math.max(to, call.to);
      }
      page.entry = keyOf(state);
      page.pens = new Map();
      for (const record of page.records) if (record) from = Math.min(from, this.step(state, record, page));
      this.keep(state.call);
      page.exit = state;
      return { from: Math.min(from, state.call?.from ?? from), to };
    }

    /** One record behind what is there. Returns the first line that may stand otherwise now. */
    append(page, record) {
      if (page.exit) {
        const from = this.step(page.exit, record, page, true);
        const { call } = page.exit;
        if (this.calls.has(call?.from)) this.keep(call);
        return from;
      }
      // The first of a new page. A call stays open while it grows, and is folded when it is read again.
      page.exit = copy(this.records.of(page.from - 1)?.exit ?? begin());
      page.entry = keyOf(page.exit);
      page.pens = new Map();
      return this.append(page, record);
    }

    /** What goes on from lines that are not there: the call and the long line that were found earlier. */
    around(line) {
      const [call, whole] = [this.callAt(line), this.pieces.get(line)];
      const state = begin();
      if (call && call.from < line) state.call = call;
      if (whole && whole.head < line) state.open[whole.stream] = whole;
      return state;
    }

    step(state, record, page, isNew = false) {
      const { seq, stream } = record;
      if (record.missing) Object.assign(state, { pens: {}, open: {} }); // nothing goes on over a cut
      const text = textOf(record);
      if (state.pens[stream]) page.pens.set(seq, state.pens[stream]);
      state.pens[stream] = behind(text, state.pens[stream], record.partial);
      const line = this.join(state, record, text.length);
      if (line && (!line.isWhole || seq !== line.seqs.at(-1))) return line.head;
      const json = line ? this.jsonOf(line) : jsonOf(record);
      const id = json ? toolOf(json) : null;
      const { call } = state;
      if (call && call.id === id && seq - call.from < CALL_MAX) {
        call.to = Math.max(call.to, seq);
        return line?.head ?? seq;
      }
      if (!isNew) this.keep(call);
      state.call = id ? { id, from: line?.head ?? seq, to: seq } : null;
      return Math.min(line?.head ?? seq, isNew ? seq : (call?.from ?? seq));
    }

    keep(call) {
      if (call && call.to - call.from >= CALL_MIN) this.calls.set(call.from, { ...call });
    }

    /** The long line that a record is a piece of; undefined if it is a line of its own. */
    join(state, record, chars) {
      const { seq, stream, partial } = record;
      if (!state.open[stream] && !partial) return void this.pieces.delete(seq);
      const known = this.pieces.get(seq);
      const head = state.open[stream]?.head ?? seq;
      const line = known?.head === head ? known : (state.open[stream] ?? { head, stream, seqs: [], leads: [seq], chars: 0, inRow: 0 });
      if (line !== known) this.add(line, record, chars);
      const isLast = seq === line.seqs.at(-1);
      state.open[stream] = isLast && line.isWhole ? undefined : line;
      return line;
    }

    add(line, { seq, partial }, chars) {
      if (line.inRow && line.inRow + chars > ROW_MAX) {
        line.leads.push(seq);
        line.inRow = 0;
      }
      line.seqs.push(seq);
      line.chars += chars;
      line.inRow += chars;
      line.isWhole = !partial || line.seqs.length === PIECES_MAX;
      line.json = undefined;
      this.pieces.set(seq, line);
    }

    // ---- Asking

    callAt(line) {
      for (const call of this.calls.values()) if (line >= call.from && line <= call.to) return call;
      return null;
    }

    /** The records that a row shows when it is unfolded. */
    rowOf(line, lead) {
      const next = line.leads[line.leads.indexOf(lead) + 1] ?? Infinity;
      return line.seqs.filter((seq) => seq >= lead && seq < next);
    }

    jsonOf(line) {
      if (line.json !== undefined || !line.isWhole) return line.json ?? null;
      line.json = line.stream === 'wakeful' || line.chars > JSON_MAX ? null : parsed(this.text(line.seqs));
      return line.json;
    }

    text(seqs) {
      return seqs.map((seq) => this.records.record(seq)).map((record) => (record ? textOf(record) : '')).join('');
    }

    /** The text of a row, from where its first record begins to where its last one ends, escapes whole. */
    rowText(line, lead) {
      const seqs = this.rowOf(line, lead);
      const text = (this.penAt(lead)?.held ?? '') + this.text(seqs);
      return seqs.at(-1) === line.seqs.at(-1) && line.isWhole ? text : cutTorn(text)[0];
    }

    /** How text is written where a record begins; undefined for plain. */
    penAt(line) {
      return this.records.of(line)?.pens?.get(line);
    }

    // ---- Forgetting

    /** Forgets the calls and the long lines that begin in a page. Returns the last line that they reach. */
    forget(page) {
      let { to } = page;
      for (const call of this.callsOf(page)) {
        this.calls.delete(call.from);
        to = Math.max(to, call.to);
      }
      for (let line = page.from; line <= page.to; line += 1) {
        const whole = this.pieces.get(line);
        if (whole?.head !== line) continue;
        for (const seq of whole.seqs) if (this.pieces.get(seq) === whole) this.pieces.delete(seq);
        to = Math.max(to, whole.seqs.at(-1));
      }
      return to;
    }

    callsOf({ from, to }) {
      return [...this.calls.values()].filter((call) => call.from >= from && call.from <= to);
    }
  }

  wakeful.LogLines = LogLines;
})();
