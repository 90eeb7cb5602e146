module example.com/secret

go 1.22
