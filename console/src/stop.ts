// Stopping a live stream, after a confirmation.

import { byId, setText } from './dom'

export class StopButton {
  private dialog = byId<HTMLDialogElement>('stop-dialog')
  private stop = () => Promise.resolve()

  constructor() {
    byId('stop').addEventListener('click', () => this.dialog.showModal())
    byId('stop-yes').addEventListener('click', () => void this.confirmed())
  }

  /** Offers to stop a channel's stream; stop reports its own errors. Undefined means that there is no stream. */
  offer(name: string, stop?: () => Promise<void>) {
    byId('stop').hidden = !stop
    if (!stop && this.dialog.open) this.dialog.close() // it has already ended
    setText(byId('stop-channel'), name)
    this.stop = stop ?? this.stop
  }

  private async confirmed() {
    const button = byId<HTMLButtonElement>('stop')
    this.dialog.close()
    button.disabled = true
    await this.stop()
    button.disabled = false
  }
}
