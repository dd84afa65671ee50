// Dialogs over the page: forms, and confirmations that say what they will destroy. They are the browser's own `dialog`
// elements, which keep the focus inside and close with Escape.

import { h, uniqueId } from '../core/dom.js';
import { form } from './form.js';

/** `lv-dialog`: shows its content until `close(value)`; `closed` is a promise of that value, undefined for Escape. */
class LvDialog extends HTMLElement {
  #closed = Promise.withResolvers?.() ?? withResolvers();

  /** Shows it. */
  show(title, content, { wide = false } = {}) {
    const id = uniqueId('dialog');
    const dismiss = h('button.quiet.dismiss', { type: 'button', 'aria-label': 'Close', onclick: () => this.close() }, '\u00d7');
    const dialog = h('dialog', { 'aria-labelledby': id, class: wide ? 'wide' : '' },
      h('div.dialog-head', h('h2', { id }, title), dismiss), h('div.dialog-body', content));
    dialog.addEventListener('close', () => {
      this.remove();
      this.#closed.resolve(this.value);
    });
    dialog.addEventListener('mousedown', (event) => {
      const box = dialog.getBoundingClientRect();
      const outside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
      if (event.target === dialog && outside) this.close();
    });
    this.replaceChildren(dialog);
    document.body.append(this);
    dialog.showModal();
    dialog.querySelector('.dialog-body :is(input, select, textarea, button)')?.focus();
    return this.#closed.promise;
  }

  /** Ends it. */
  close(value) {
    this.value = value;
    this.querySelector('dialog')?.close();
  }
}
customElements.define('lv-dialog', LvDialog);

function withResolvers() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
}

/** Shows any content in a dialog: `content(close)` makes it. A view that is left closes its dialogs. */
export function openDialog(title, content, options = {}) {
  const dialog = h('lv-dialog');
  const close = (value) => dialog.close(value);
  window.addEventListener('lv-leave', () => close(), { once: true });
  return dialog.show(title, content(close), options);
}

/** A form in a dialog (see `form`); true when `submit` has succeeded. */
export function openForm({ title, intro = null, wide = false, submit, ...options }) {
  return openDialog(title, (close) => {
    const cancel = h('button', { type: 'button', onclick: () => close(false) }, 'Cancel');
    const made = form({
      ...options,
      extra: [cancel],
      submit: async (values) => {
        await submit(values);
        close(true);
      },
    });
    return [intro, made.element];
  }, { wide }).then(Boolean);
}

/**
 * Asks before something is destroyed. `text` says what will be gone; with `name` the user has to type it, which is for
 * what cannot be brought back, such as messages. `run` does it, and an error of it is shown in the dialog. True when done.
 */
export function confirm({ title, text, action, run, name = null, kind = 'danger', doing = null }) {
  const fields = [];
  if (name !== null) {
    fields.push({ name: 'typed', label: h('span', 'Type ', h('code', name), ' to go on'), required: true, wide: true });
  }
  return openForm({
    title,
    intro: h('div.consequence', [text].flat().map((part) => (part instanceof Node ? part : h('p', part)))),
    fields,
    submitLabel: action,
    kind,
    doing,
    submit: async ({ typed }) => {
      if (name !== null && typed !== name) throw new Error(`That is not the name. It is: ${name}`);
      await run();
    },
  });
}
