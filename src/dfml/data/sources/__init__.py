"""Where real images come from: embedded arrays, and stores of files with what layouts and lists make of them."""
