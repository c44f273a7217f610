// actions.js — what a click or a submit does: <api-form> (a form sent as JSON to the API, its problems shown at the
// fields), <copy-text>, the theme, the drawer of pages on phones, toasts and the confirm dialog.
// Nothing here knows a particular page: all is said by attributes. Listeners sit on the document, so morphs do no harm.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const TIMEOUT_MS = 60_000;
  const TOAST_MS = 5_000;
  const TOAST_KEY = 'wakeful-toast';
  const WATCHED_MS = 300;
  const WATCHED_LOOKS = 60;

  const make = (tag, props = {}, ...children) => {
    const el = Object.assign(document.createElement(tag), props);
    el.append(...children);
    return el;
  };
  wakeful.make = make;

  // randomUUID is there on https and localhost only.
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }

  // ---- Toasts and dialogs ------------------------------------------------------------------------------------------

  function toast(text, isBad = false) {
    let region = document.querySelector('.toasts');
    if (!region) document.body.append((region = make('div', { className: 'toasts' })));
    region.setAttribute('role', 'status');
    region.setAttribute('aria-live', 'polite');
    const item = make('div', { className: isBad ? 'toast bad' : 'toast', textContent: text });
    region.append(item);
    setTimeout(() => item.remove(), isBad ? TOAST_MS * 2 : TOAST_MS);
  }
  wakeful.toast = toast;

  /** Shows a modal dialog; resolves with its return value when it closes. Focus goes back by itself. */
  wakeful.dialog = (className, label, ...children) => {
    const dialog = make('dialog', { className, ariaLabel: label }, ...children);
    document.body.append(dialog);
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close(''));
    const closed = new Promise((done) => {
      dialog.addEventListener('close', () => {
        dialog.remove();
        done(dialog.returnValue);
      });
    });
    dialog.showModal();
    return { dialog, closed };
  };

  /** Asks; true when confirmed. Enter confirms, Esc cancels. */
  wakeful.confirm = async (text, word = 'OK', isDanger = false) => {
    const yes = make('button', { type: 'button', className: `button ${isDanger ? 'danger' : 'primary'}`, textContent: word });
    const no = make('button', { type: 'button', className: 'button quiet', textContent: 'Cancel' });
    yes.autofocus = true;
    const { dialog, closed } = wakeful.dialog('confirm', 'Confirm', make('p', { textContent: text }), make('div', { className: 'form-actions' }, yes, no));
    yes.addEventListener('click', () => dialog.close('yes'));
    no.addEventListener('click', () => dialog.close(''));
    return (await closed) === 'yes';
  };

  /** Shows once what only an answer says: text as it is, anything else as JSON. It is there to be copied. */
  function reveal(title, value) {
    const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
    const shown = make('pre', { textContent: text, tabIndex: 0 });
    const copy = make('copy-text', {}, make('button', { type: 'button', className: 'button primary', textContent: 'Copy', autofocus: true }));
    copy.dataset.text = text;
    const close = make('button', { type: 'button', className: 'button', textContent: 'Close' });
    const { dialog } = wakeful.dialog('confirm reveal', title, make('p', { textContent: title }), shown, make('div', { className: 'form-actions' }, copy, close));
    close.addEventListener('click', () => dialog.close(''));
  }

  // ---- From inputs to JSON -----------------------------------------------------------------------------------------

  class BadInput extends Error {
    constructor(input, message) {
      super(message);
      this.input = input;
    }
  }

  const UNITS = { ms: 0.001, s: 1, m: 60, min: 60, h: 3_600, d: 86_400, w: 604_800 };

  /** "90", "90s", "1h 30m" → seconds. */
  function seconds(text) {
    if (/^\d+$/.test(text)) return Number(text);
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])/g)];
    if (parts.length === 0 || text.replace(/(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])/g, '').trim()) throw new Error('is not a duration; write 90s, 15m or 1h 30m');
    return Math.round(parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0));
  }

  function number(text) {
    const value = Number(text);
    if (!Number.isFinite(value)) throw new Error('is not a number');
    return value;
  }

  /** Dollars → millionths: "$5", "0.25". */
  function micros(text) {
    const value = Math.round(number(text.replace(/^\$\s*/, '')) * 1e6);
    if (!value && /[1-9]/.test(text)) throw new Error('is less than a millionth of a dollar');
    return value;
  }

  const list = (text) => text.split(/[,\n]/).map((item) => item.trim()).filter(Boolean);

  /** Words of a command line, or the line as it is where only a shell understands it. */
  function argv(text) {
    const words = [];
    const piece = /[ \t]+|'([^']*)'|"((?:[^"\\$`]|\\.)*)"|\\(.)|([^\s'"\\$`|&;<>()*?[\]#~!{}\n]+)/gy;
    let word = null;
    let end = 0;
    for (let found = piece.exec(text); found; found = piece.exec(text)) {
      end = piece.lastIndex;
      const [whole, single, double, escaped, plain] = found;
      if (/^[ \t]/.test(whole)) {
        if (word !== null) words.push(word);
        word = null;
      } else {
        word = (word ?? '') + (single ?? double?.replace(/\\(["\\$`])/g, '$1') ?? escaped ?? plain);
      }
    }
    if (end < text.length || /^\w+=/.test(text)) return text;
    return word === null ? words : [...words, word];
  }

  const CONVERT = {
    number,
    json: (text) => JSON.parse(text),
    list,
    argv,
    micros,
    durations_s: (text) => list(text).map(seconds),
    bool: (text) => text === 'true' || text === 'on' || text === '1',
    duration_s: seconds,
    time: (text) => new Date(text).toISOString(),
  };
  /** What a field holds; with `data-type-by` it is another field that says it. */
  function typeOf(input) {
    const by = input.dataset.typeBy && input.form?.elements[input.dataset.typeBy]?.value;
    return (by && input.getAttribute(`data-type-${by}`)) ?? ownTypeOf(input);
  }
  const ownTypeOf = (input) => input.dataset.type ?? { number: 'number', range: 'number', 'datetime-local': 'time' }[input.type];

  /** What one input says; undefined when it says nothing. */
  function valueOf(input) {
    const { empty } = input.dataset;
    const type = typeOf(input);
    if (input.value.trim() === '') {
      if (type === 'null-if-empty') return null;
      return empty === undefined ? undefined : JSON.parse(empty || '""');
    }
    try {
      return CONVERT[type] ? CONVERT[type](input.value.trim()) : input.value;
    } catch (error) {
      throw new BadInput(input, type === 'json' ? `is not JSON: ${error.message}` : error.message);
    }
  }

  function valueOfAll(inputs) {
    const [first] = inputs;
    if (first.type === 'radio') return inputs.filter((input) => input.checked).map(valueOf)[0];
    if (first.type === 'checkbox') {
      if (inputs.length === 1 && first.dataset.type !== 'list') return first.checked;
      return inputs.filter((input) => input.checked).map((input) => input.value);
    }
    if (first.type === 'select-multiple') return [...first.selectedOptions].map((option) => option.value);
    if (inputs.length === 1) return valueOf(first);
    return inputs.map(valueOf).filter((value) => value !== undefined);
  }

  function put(target, path, value) {
    const keys = path.split('.');
    const last = keys.pop();
    if ([...keys, last].includes('__proto__')) return;
    let at = target;
    for (const key of keys) at = at[key] ??= {};
    at[last] = value;
  }

  const inputsOf = (form) => [...form.elements].filter((el) => el.name && !el.disabled && !/^(submit|button|reset|image|file|fieldset|output)$/.test(el.type));

  function bodyOf(form, submitter) {
    const groups = new Map();
    for (const el of inputsOf(form)) groups.set(el.name, [...(groups.get(el.name) ?? []), el]);
    const body = {};
    // What is whole comes before what goes into it.
    const depth = (name) => name.split('.').length;
    for (const [name, inputs] of [...groups].sort(([a], [b]) => depth(a) - depth(b))) {
      const value = valueOfAll(inputs);
      if (value === undefined) continue;
      // The whole body, for what is published as it is.
      if ('body' in inputs[0].dataset) Object.assign(body, value);
      else put(body, name, value);
    }
    if (submitter?.name) put(body, submitter.name, CONVERT[submitter.dataset.type]?.(submitter.value) ?? submitter.value);
    return body;
  }

  // ---- Sending -----------------------------------------------------------------------------------------------------

  const keys = new WeakMap(); // form → {key, content}: one key for one content until an answer came
  const underWay = new WeakSet();
  const said = (form, name) => form.dataset[name] ?? form.closest('api-form')?.dataset[name];

  function keyFor(form, content) {
    const kept = keys.get(form);
    if (kept?.content === content) return kept.key;
    const key = uuid();
    keys.set(form, { key, content });
    return key;
  }

  const dig = (value, path) => path.split('.').reduce((at, key) => at?.[key], value);
  const fill = (template, value) => template.replace(/\{([\w.]+)\}/g, (_, path) => encodeURIComponent(dig(value, path) ?? ''));

  function request(form, submitter) {
    const body = bodyOf(form, submitter);
    const template = submitter?.getAttribute('formaction') ?? form.getAttribute('action');
    const url = fill(template, body);
    for (const [, name] of template.matchAll(/\{(\w+)\}/g)) delete body[name];
    const method = (submitter?.dataset.method ?? said(form, 'method') ?? 'POST').toUpperCase();
    const hasBody = method !== 'DELETE' || Object.keys(body).length > 0;
    const content = hasBody ? JSON.stringify(body) : undefined;
    const headers = { Accept: 'application/json', 'Wakeful-Console': '1', 'Idempotency-Key': keyFor(form, `${method} ${url} ${content}`) };
    if (hasBody) headers['Content-Type'] = 'application/json';
    return { url, init: { method, headers, body: content, credentials: 'same-origin', signal: AbortSignal.timeout(TIMEOUT_MS) } };
  }

  /** Sends a form. `{isDone, answer}` or `{isDone: false, problem}`; never throws. */
  async function send(form, submitter) {
    try {
      const { url, init } = request(form, submitter);
      const response = await fetch(url, init);
      const answer = await response.json().catch(() => null);
      // A gateway's error says nothing about what became of the request: its key is used again.
      if (response.status < 500) keys.delete(form);
      if (response.ok) return { isDone: true, answer };
      return { isDone: false, problem: { detail: `The server answered ${response.status}.`, ...answer, status: response.status } };
    } catch (error) {
      if (error instanceof BadInput) return { isDone: false, input: error.input, problem: { detail: error.message } };
      const isLate = error.name === 'TimeoutError';
      const detail = isLate ? 'no answer from the server yet; trying again does nothing twice' : 'cannot reach the server; nothing was lost: try again';
      return { isDone: false, problem: { status: 0, detail } };
    }
  }
  wakeful.send = send;

  /** Waits for what came of what was asked for: what `data-watch` names tells its status. `null` if that takes too long. */
  async function watch(form, answer) {
    const url = fill(said(form, 'watch'), answer);
    for (let looks = 0; looks < WATCHED_LOOKS; looks += 1) {
      const response = await fetch(url, { headers: { Accept: 'application/json' }, credentials: 'same-origin' }).catch(() => null);
      const seen = response?.ok ? await response.json() : null;
      if (!seen || !['pending', 'sending'].includes(seen.status)) return seen;
      await new Promise((later) => setTimeout(later, WATCHED_MS));
    }
    return null;
  }

  const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);

  /** What is said when it is done: words, and whether it went wrong after all. */
  function wordsOf(form, answer, watched) {
    // `data-done-by` names the member of the answer that decides which of several `data-done-…` is said.
    const by = said(form, 'doneBy');
    const done = (by && said(form, `done${capital(String(dig(answer, by)))}`)) ?? said(form, 'done');
    if (!watched) return { done, isBad: false };
    if (watched.status === said(form, 'good')) return { done, isBad: false };
    const why = watched.log?.at(-1)?.detail;
    return { done: [said(form, 'failed') ?? 'Failed', why].filter(Boolean).join(': '), isBad: true };
  }

  function setBusy(form, submitter, isBusy) {
    const hadFocus = document.activeElement === submitter;
    if (isBusy) form.setAttribute('aria-busy', 'true');
    else form.removeAttribute('aria-busy');
    for (const button of form.querySelectorAll('button:not([type=button])')) {
      if (isBusy === button.disabled && !('busy' in button.dataset)) continue;
      button.disabled = isBusy;
      button.toggleAttribute('data-busy', isBusy);
    }
    if (isBusy && hadFocus) form.dataset.refocus = '';
    if (!isBusy && 'refocus' in form.dataset) {
      delete form.dataset.refocus;
      if (document.activeElement === document.body) submitter.focus();
    }
  }

  async function submit(form, submitter) {
    if (underWay.has(form)) return;
    underWay.add(form);
    try {
      const question = submitter?.dataset.confirm ?? said(form, 'confirm');
      const isDanger = submitter?.classList.contains('danger');
      if (question && !(await wakeful.confirm(question, submitter?.textContent.trim() || 'OK', isDanger))) return;
      clearErrors(form);
      setBusy(form, submitter, true);
      const outcome = await send(form, submitter);
      const watched = outcome.isDone && said(form, 'watch') ? await watch(form, outcome.answer) : undefined;
      setBusy(form, submitter, false);
      if (outcome.isDone) succeed(form, outcome.answer, watched);
      else fail(form, outcome);
    } finally {
      underWay.delete(form);
    }
  }

  function succeed(form, answer, watched) {
    wakeful.setClean?.(form);
    form.dispatchEvent(new CustomEvent('wakeful:done', { bubbles: true, detail: answer }));
    // What is not known yet is shown by the page that comes.
    const { done, isBad } = watched === null ? {} : wordsOf(form, answer, watched);
    const then = said(form, 'then') ?? 'stay';
    const revealed = said(form, 'reveal');
    if (revealed) reveal(`${done ?? 'Found'}: it is shown once`, dig(answer, revealed) ?? answer);
    if (then === 'stay') {
      if (done && !revealed) toast(done, isBad);
      form.closest('dialog')?.close();
      wakeful.refresh?.({ isForced: true });
      return;
    }
    if (done) sessionStorage.setItem(TOAST_KEY, JSON.stringify({ text: done, isBad }));
    if (then === 'reload') return location.reload();
    const path = fill(then, answer);
    if (/^\/(?!\/)/.test(path)) location.assign(path);
  }

  // ---- Problems ----------------------------------------------------------------------------------------------------

  const segments = (path) => path.split(/[.[\]]+/).filter(Boolean);
  const isVisible = (el) => el.type !== 'hidden';

  /** The input for a field: the same name, or the longest beginning of it. */
  function inputFor(form, field) {
    const wanted = segments(field);
    let best = null;
    for (const input of [...form.elements].filter((el) => isVisible(el) && (el.name || el.dataset.field))) {
      for (const name of [input.dataset.field, input.name].filter(Boolean)) {
        const path = segments(name);
        const isPrefix = path.length <= wanted.length && path.every((part, i) => part === wanted[i]);
        if (isPrefix && path.length > (best?.length ?? 0)) best = { input, length: path.length };
      }
    }
    return best?.input;
  }

  /** "is missing" says nothing without what is. */
  function withSubject(field, message) {
    const label = field.querySelector('label')?.textContent.trim();
    return label && /^(is|are|must|has|have|cannot|may|needs|does|do)\b/.test(message) ? `${label} ${message}` : message;
  }

  let ids = 0;
  function showAt(input, message) {
    const field = input.closest('.field') ?? input.parentElement;
    let error = field.querySelector('.error');
    if (!error) field.append((error = make('p', { className: 'error' })));
    error.setAttribute('role', 'alert');
    error.id ||= `error-${(ids += 1)}`;
    error.hidden = false;
    const said = withSubject(field, message);
    error.textContent = error.textContent ? `${error.textContent}; ${said}` : said;
    input.setAttribute('aria-invalid', 'true');
    const described = new Set((input.getAttribute('aria-describedby') ?? '').split(/\s+/).filter(Boolean)).add(error.id);
    input.setAttribute('aria-describedby', [...described].join(' '));
    for (let at = input.closest('details'); at; at = at.parentElement.closest('details')) at.open = true;
  }

  function showOnTop(form, lines, status) {
    const notice = make('div', { className: 'notice bad' });
    notice.setAttribute('role', 'alert');
    for (const line of lines) notice.append(make('p', { textContent: line }));
    if (status === 401 && !document.body.matches('.login')) notice.append(make('p', {}, make('a', { href: '/login', target: '_blank', textContent: 'Log in in a new tab, then try again' })));
    form.prepend(notice);
    notice.scrollIntoView({ block: 'nearest' });
  }

  function clearErrors(form) {
    form.querySelectorAll(':scope > .notice.bad').forEach((notice) => notice.remove());
    for (const input of form.querySelectorAll('[aria-invalid]')) clearError(input);
  }

  function clearError(input) {
    input.removeAttribute('aria-invalid');
    const error = (input.closest('.field') ?? input.parentElement).querySelector('.error');
    if (error) error.textContent = '';
  }

  function fail(form, { problem, input }) {
    const hasInputs = inputsOf(form).some(isVisible);
    const errors = input ? [{ input, message: problem.detail }] : (problem.errors ?? []).map((error) => ({ ...error, input: inputFor(form, error.field) }));
    const placed = errors.filter((error) => error.input);
    placed.forEach((error) => showAt(error.input, error.message));
    const rest = errors.filter((error) => !error.input).map((error) => `${error.field}: ${error.message}`);
    if (errors.length === 0) rest.push(problem.detail);
    if (!hasInputs) toast(rest.join('; '), true);
    else if (rest.length) showOnTop(form, rest, problem.status);
    if (hasInputs) wakeful.setDirty?.(form); // the next refresh keeps it
    placed[0]?.input.focus();
  }

  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (!form.closest('api-form')) return;
    event.preventDefault();
    submit(form, event.submitter);
  });
  document.addEventListener('input', (event) => event.target.matches?.('[aria-invalid]') && clearError(event.target));

  // ---- Filters, companies ------------------------------------------------------------------------------------------

  document.addEventListener('formdata', (event) => {
    if (!event.target.matches('form[method=get]')) return;
    for (const [name, value] of [...event.formData]) if (value === '') event.formData.delete(name);
  });
  document.addEventListener('change', (event) => {
    const { target } = event;
    if (target.matches('select.company') && /^\/(?!\/)/.test(target.value)) location.assign(target.value);
    else if (target.form?.matches('form[data-auto]')) target.form.requestSubmit();
  });

  // ---- Copying -----------------------------------------------------------------------------------------------------

  /** Also on plain HTTP, where there is no clipboard object. */
  wakeful.copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = make('textarea', { value: text, readOnly: true });
      Object.assign(area.style, { position: 'fixed', opacity: '0' });
      const active = document.activeElement;
      (active?.closest('dialog') ?? document.body).append(area);
      area.select();
      const isDone = document.execCommand('copy');
      area.remove();
      active?.focus({ preventScroll: true });
      return isDone;
    }
  };

  customElements.define(
    'copy-text',
    class extends HTMLElement {
      connectedCallback() {
        this.dataset.keep = ''; // a morph would take the button out again
        if (this.querySelector('button')) return;
        this.replaceChildren(make('button', { type: 'button', className: 'button quiet', textContent: this.textContent.trim() || 'Copy' }));
      }
    },
  );

  async function copyFrom(host) {
    const button = host.querySelector('button');
    const isDone = await wakeful.copy(host.dataset.text ?? '');
    if (!isDone) return toast('Copying is not allowed here: select the text and press Ctrl-C', true);
    host.dataset.word ??= button.textContent;
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = host.dataset.word), 1_500);
    return undefined;
  }

  // ---- Theme -------------------------------------------------------------------------------------------------------

  const THEMES = ['system', 'light', 'dark'];
  wakeful.nextTheme = () => {
    const root = document.documentElement;
    const next = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    root.dataset.theme = next;
    document.cookie = `wakeful_theme=${next}; path=/; max-age=31536000; SameSite=Strict`;
    toast(`Theme: ${next}`);
  };

  // ---- The drawer --------------------------------------------------------------------------------------------------

  function setDrawer(isOpen) {
    const [side, button] = [document.querySelector('.side'), document.querySelector('.top .menu')];
    if (!side || side.classList.contains('open') === isOpen) return false;
    side.classList.toggle('open', isOpen);
    button?.setAttribute('aria-expanded', String(isOpen));
    if (isOpen) side.querySelector('a')?.focus();
    else if (side.contains(document.activeElement)) button?.focus();
    return true;
  }
  wakeful.closeDrawer = () => setDrawer(false);

  // A click beside the open drawer closes it and does nothing else.
  document.addEventListener(
    'click',
    (event) => {
      if (event.target.closest?.('.side, .top .menu') || !setDrawer(false)) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );

  document.addEventListener('click', (event) => {
    const at = (selector) => event.target.closest?.(selector);
    if (at('.top .menu')) return setDrawer(!document.querySelector('.side.open'));
    if (at('[data-theme-next]')) wakeful.nextTheme();
    const target = at('a[href^="#"]') && document.getElementById(at('a').hash.slice(1));
    setTimeout(() => target?.querySelector('input, textarea, select')?.focus()); // after the browser has gone there
    const host = at('copy-text');
    if (host && at('button')) copyFrom(host);
    return undefined;
  });

  document.querySelector('api-form[data-at-once] form')?.requestSubmit();

  const left = sessionStorage.getItem(TOAST_KEY);
  if (left) {
    sessionStorage.removeItem(TOAST_KEY);
    const { text, isBad } = JSON.parse(left);
    toast(text, isBad);
  }
})();
