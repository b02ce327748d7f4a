// go mod tidy adds what the example needs.
module example

go 1.26
