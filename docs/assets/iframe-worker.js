// A browser starts no workers for a page that it reads from a disk, and Material's search is one: run it in a
// hidden frame then. The frame's script takes messages as window does; what it posts goes to its parent.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = `<script>postMessage = data => parent.postMessage(data, "*")</script><script src="${url}"></script>`;
      this.ready = new Promise(resolve => {
        frame.onload = () => resolve(frame.contentWindow);
      });
      window.addEventListener("message", event => {
        if (event.source === frame.contentWindow) this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      document.body.append(frame);
    }
    postMessage(data) {
      // Not the frame's postMessage, which is its way out: what arrives is an event there.
      this.ready.then(inside => inside.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
