// views.js — <saved-views>: a person's own views of a list, beside those that are given. A view is a name for what is
// asked for in the address. They are kept in this browser, by company and page; whatever stands there is taken for text.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const VIEWS_MAX = 50;
  const NAME_MAX = 60;
  const QUERY_MAX = 2_000;

  /** What is asked for, without the place in the list, in one order. */
  function plainQuery(text) {
    const query = new URLSearchParams(text);
    query.delete('cursor');
    query.sort();
    return query.toString();
  }

  const isView = (view) => typeof view?.name === 'string' && view.name.trim() !== '' && typeof view.query === 'string' && view.query.length <= QUERY_MAX;

  class SavedViews extends HTMLElement {
    connectedCallback() {
      this.dataset.keep = '';
      this.gone = new AbortController();
      const { signal } = this.gone;
      addEventListener('storage', ({ key }) => (key === null || key === this.key) && this.draw(), { signal });
      this.addEventListener('click', (event) => this.clicked(event), { signal });
      this.draw();
    }

    disconnectedCallback() {
      this.gone.abort();
    }

    get key() {
      return `wakeful-views:${document.body.dataset.company ?? ''}:${this.dataset.page ?? ''}`;
    }

    /** The views that are kept; what is no view is passed over, and is gone with the next change. */
    get views() {
      try {
        const kept = JSON.parse(localStorage.getItem(this.key) ?? '[]');
        if (!Array.isArray(kept)) return [];
        const views = kept.filter(isView).map(({ name, query }) => ({ name: name.trim().slice(0, NAME_MAX), query: plainQuery(query) }));
        const names = views.map(({ name }) => name);
        return views.filter(({ name }, i) => names.indexOf(name) === i).slice(0, VIEWS_MAX);
      } catch {
        return [];
      }
    }

    /** Keeps views; says so where a browser keeps nothing. */
    keep(views, told) {
      try {
        localStorage.setItem(this.key, JSON.stringify(views));
        wakeful.toast(told);
      } catch {
        wakeful.toast('This browser keeps nothing for this page: the view is not saved', true);
      }
      this.draw();
    }

    get query() {
      return plainQuery(location.search);
    }

    isGiven(query) {
      const links = [...(this.parentElement?.querySelectorAll(':scope > a[href]') ?? [])];
      return links.some((link) => plainQuery(link.search) === query);
    }

    draw() {
      const { make } = wakeful;
      const { query, views } = this;
      const hadFocus = this.contains(document.activeElement) && document.activeElement.dataset.act;
      const parts = views.map((view) => {
        const link = make('a', { href: `?${view.query}`, textContent: view.name });
        if (view.query === query) link.setAttribute('aria-current', 'page');
        return link;
      });
      const own = views.find((view) => view.query === query);
      if (own) parts.push(this.button('rename', 'Rename', `Rename the view ${own.name}`), this.button('remove', 'Remove', `Remove the view ${own.name}`));
      else if (query && !this.isGiven(query)) parts.push(this.button('save', 'Save this view', 'Save this view'));
      else if (views.length === 0) parts.push(make('span', { className: 'dim', textContent: 'Filter the list to save a view of your own.' }));
      this.replaceChildren(...parts);
      if (hadFocus) (this.querySelector(`[data-act=${hadFocus}]`) ?? this.querySelector('[aria-current]') ?? this.querySelector('button, a'))?.focus();
    }

    button(act, text, label) {
      const button = wakeful.make('button', { type: 'button', textContent: text, ariaLabel: label });
      button.dataset.act = act;
      button.dataset.actionKey = label; // the palette finds it
      return button;
    }

    async clicked(event) {
      const act = event.target.closest('[data-act]')?.dataset.act;
      if (!act) return;
      const { query } = this;
      const own = this.views.find((view) => view.query === query);
      if (act === 'remove' && own) {
        const isSure = await wakeful.confirm(`Remove the view ${own.name}? The list stays as it is.`, 'Remove', true);
        if (isSure) this.keep(this.views.filter(({ name }) => name !== own.name), 'Removed');
      } else if (act === 'rename' && own) {
        const name = await this.ask('Rename the view', own.name);
        if (name) this.keep(this.views.map((view) => (view.name === own.name ? { ...view, name } : view)), 'Renamed');
      } else if (act === 'save') {
        if (this.views.length >= VIEWS_MAX) return wakeful.toast(`There are ${VIEWS_MAX} views, which is the most: remove one first`, true);
        const name = await this.ask('Save this view', '');
        if (name) this.keep([...this.views, { name, query }], 'Saved in this browser');
      }
    }

    /** Asks for a name that no other view has; empty when it was called off. */
    async ask(title, before) {
      const { make } = wakeful;
      const input = make('input', { id: 'view-name', value: before, maxLength: NAME_MAX, required: true, autocomplete: 'off' });
      const error = make('p', { className: 'error', id: 'view-error' });
      error.setAttribute('role', 'alert');
      input.setAttribute('aria-describedby', 'view-error');
      const cancel = make('button', { type: 'button', className: 'button quiet', textContent: 'Cancel' });
      const save = make('button', { type: 'submit', className: 'button primary', textContent: 'Save' });
      const field = make('div', { className: 'field' }, make('label', { htmlFor: 'view-name', textContent: 'Name' }), input, error);
      const form = make('form', {}, make('h2', { textContent: title }), field, make('div', { className: 'form-actions' }, save, cancel));
      const { dialog, closed } = wakeful.dialog('confirm', title, form);
      cancel.addEventListener('click', () => dialog.close(''));
      form.addEventListener('submit', (event) => {
        event.preventDefault();
        const name = input.value.trim();
        const isTaken = name !== before && this.views.some((view) => view.name === name);
        error.textContent = isTaken ? 'There is a view of this name.' : '';
        if (isTaken || !name) return input.focus();
        dialog.close(name);
      });
      input.focus();
      input.select();
      return closed;
    }
  }

  customElements.define('saved-views', SavedViews);
})();
