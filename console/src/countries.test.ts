import { expect, test } from 'vitest'
import { countries, countryName, findCountries } from './countries'

test('all 249 countries have a name, and codes of two capitals', () => {
  expect(countries.length).toBe(249)
  expect(new Set(countries.map(({ code }) => code)).size).toBe(249)
  expect(countries.filter(({ code, name }) => !/^[A-Z]{2}$/.test(code) || name === code)).toEqual([])
})

test('countries are found by name, without accents, and by code', () => {
  expect(findCountries('cote').map(({ code }) => code)).toEqual(['CI'])
  expect(findCountries('CH').map(({ code }) => code)).toContain('CH')
  expect(findCountries('').length).toBe(249)
  expect(countryName('DE')).toBe('Germany')
  expect(countryName('x')).toBe('x')
})
