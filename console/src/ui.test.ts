import type { VNode } from 'preact'
import { expect, test } from 'vitest'
import { pageOf } from './order'
import { Pages } from './ui'

test('the buttons of a list stay focusable at its ends, and do nothing there', () => {
  const went: number[] = []
  const buttons = (wanted: number) => {
    const { props } = Pages({ page: pageOf([1, 2, 3, 4, 5], wanted, 2), of: 5, go: (page) => went.push(page) }) as VNode<{ children: VNode<{ disabled?: boolean; 'aria-disabled': boolean; onClick: () => void }>[] }>
    return [props.children[0]!.props, props.children[2]!.props] as const
  }
  for (const wanted of [0, 1, 2]) {
    for (const { disabled, onClick } of buttons(wanted)) {
      expect(disabled).toBe(undefined)
      onClick()
    }
  }
  expect(went).toEqual([1, 0, 2, 1])
  expect([0, 2].map((wanted) => buttons(wanted).map((button) => button['aria-disabled']))).toEqual([[true, false], [false, true]])
  expect(Pages({ page: pageOf([1, 2], 0, 2), of: 2, go: () => {} })).toBe(null)
})
