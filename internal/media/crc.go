package media

// CRC32 is the checksum of ISO 13818-1, annex A: polynomial 0x04c11db7, most
// significant bit first, which hash/crc32 does not have.
func CRC32(b []byte) uint32 {
	crc := ^uint32(0)
	for _, v := range b {
		crc ^= uint32(v) << 24
		for range 8 {
			carry := crc >> 31
			crc = crc<<1 ^ carry*0x04c11db7
		}
	}
	return crc
}
