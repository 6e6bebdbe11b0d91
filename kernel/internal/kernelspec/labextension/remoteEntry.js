// What advlab adds to JupyterLab and Notebook 7. The kernel's reply to a cell carries what the cell's numbers come from:
// seconds, phases, backend, device, plugin, seed, versions. JupyterLab drops a reply's metadata; this puts it into the cell's
// and the notebook's metadata, under advlab, as `advlab run` does, so that a saved notebook has it, and shows the
// seconds below the cell's number. Drawings in SVG, as those of package show, get no wider than their cell.
//
// The file is what a bundler would make of such an extension (a container of webpack's module federation), by hand: it is
// short, and nothing has to be built.
'use strict';

(() => {
  const KEY = 'advlab';
  const SHARED = ['advlab', 'go']; // the same for all cells: kept once, in the notebook's metadata
  let scope;

  /** The module of that name that JupyterLab shares with its extensions. */
  const shared = async name => {
    const [version] = Object.values(scope[name] ?? {});
    if (!version) {
      throw new Error(`advlab: this JupyterLab does not share ${name}`);
    }
    return (await version.get())();
  };

  const seconds = s => (s < 1 ? `${Math.round(s * 1000)} ms` : s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`);

  /** What the tooltip at a cell's number says. */
  const words = told => {
    const lines = [`total ${seconds(told.seconds)}`];
    for (const [name, s] of Object.entries(told.phases ?? {})) {
      lines.push(`${name} ${seconds(s)}`);
    }
    for (const name of ['backend', 'device', 'seed']) {
      if (told[name] !== undefined) {
        lines.push(`${name} ${told[name]}`);
      }
    }
    return lines.join('\n');
  };

  /** Shows, or with nothing told no longer shows, a cell's time. */
  const show = (cell, told) => {
    const known = Number.isFinite(told?.seconds);
    if (known) {
      cell.node.style.setProperty('--advlab-time', JSON.stringify(seconds(told.seconds)));
    } else {
      cell.node.style.removeProperty('--advlab-time');
    }
    const prompt = cell.node.querySelector('.jp-InputPrompt');
    if (prompt) {
      prompt.title = known ? words(told) : '';
    }
  };

  /** Keeps what the kernel tells of a cell. */
  const keep = (notebook, cell, told) => {
    const { modules, ...own } = told;
    const all = { ...notebook.model.getMetadata(KEY) };
    if (modules) {
      all.modules = { ...all.modules, ...modules };
    }
    for (const name of SHARED) {
      if (name in own) {
        all[name] = own[name];
        delete own[name];
      }
    }
    notebook.model.setMetadata(KEY, all);
    cell.model.setMetadata(KEY, own);
    show(cell, own);
  };

  /** Drops the input box of a cell that was interrupted while it asked: JupyterLab leaves it, and nobody reads it any more. */
  const dropQuestions = cell => {
    for (const item of [...(cell.outputArea?.widgets ?? [])]) {
      if (item.hasClass('jp-OutputArea-stdin-item')) {
        item.dispose();
      }
    }
  };

  /** Follows the cells that a notebook's panel sends to its kernel. */
  const follow = panel => {
    const asked = new Map(); // ids of cells, by that of the request
    const find = id => panel.content.widgets.find(cell => cell.model.id === id);
    const hear = (_, { msg, direction }) => {
      const type = msg.header.msg_type;
      if (direction === 'send' && type === 'execute_request' && msg.metadata.cellId) {
        asked.set(msg.header.msg_id, msg.metadata.cellId);
        const cell = find(msg.metadata.cellId);
        if (cell?.model.getMetadata(KEY)) {
          cell.model.deleteMetadata(KEY); // what it holds is of an earlier run
          show(cell);
        }
      } else if (direction === 'recv' && type === 'execute_reply') {
        const id = asked.get(msg.parent_header.msg_id);
        asked.delete(msg.parent_header.msg_id);
        const told = msg.metadata[KEY];
        const cell = id && find(id);
        if (cell) {
          dropQuestions(cell);
        }
        if (cell && told && panel.model) {
          keep(panel, cell, told);
        }
      }
    };
    let session = null;
    const listen = () => {
      session?.anyMessage?.disconnect(hear);
      session = panel.sessionContext.session;
      session?.anyMessage.connect(hear);
    };
    panel.sessionContext.sessionChanged.connect(listen);
    listen();
    panel.disposed.connect(() => session?.anyMessage?.disconnect(hear));
    panel.context.ready.then(() => {
      // JupyterLab draws cells as they are scrolled to.
      const showSaved = () => panel.content.widgets.forEach(cell => cell.model.type === 'code' && show(cell, cell.model.getMetadata(KEY)));
      showSaved();
      panel.content.cellInViewportChanged?.connect(showSaved);
    });
  };

  const style = () => {
    const element = document.createElement('style');
    element.textContent = `
      .jp-CodeCell .jp-InputPrompt::after {
        content: var(--advlab-time);
        display: block;
        font-size: 85%;
        line-height: 1.2;
        opacity: 0.75;
        white-space: nowrap;
      }
      /* JupyterLab shrinks other images to the width of their cell, and cuts these off. */
      .jp-RenderedSVG:not(.jp-mod-unconfined) > img {
        height: auto;
        max-width: 100%;
      }`;
    document.head.append(element);
  };

  globalThis._JUPYTERLAB = globalThis._JUPYTERLAB ?? {};
  globalThis._JUPYTERLAB[KEY] = {
    init: given => {
      scope = given;
    },
    get: async () => {
      const { INotebookTracker } = await shared('@jupyterlab/notebook');
      const plugin = {
        id: 'advlab:plugin',
        description: "Keeps what advlab's kernel tells of each cell in the notebook's metadata, and shows how long cells took.",
        autoStart: true,
        requires: [INotebookTracker],
        activate: (_, notebooks) => {
          style();
          notebooks.widgetAdded.connect((_, panel) => follow(panel));
        }
      };
      return () => plugin;
    }
  };
})();
