// Keeps notes in the directory /data, looks at the clocks, and says what it did. Where anything is
// not as it should be, it says so and ends with exit code 1.

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fstream>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <sys/stat.h>

using namespace std::chrono_literals;

const std::string data = "/data";
const auto a = data + "/a.txt", b = data + "/b.txt", draft = data + "/draft.txt";

static void expect(bool holds, const std::string &what) {
    if (holds) return;
    std::cerr << "notes: " << what << ": " << std::strerror(errno) << std::endl;
    std::exit(1);
}

static void put(const std::string &path, std::ios::openmode mode, const std::string &text) {
    std::ofstream file(path, mode);
    file << text;
    file.close();
    expect(file.good(), path);
}

// Debian's libc++ for WASI has no std::filesystem: directories are read as in C.
static std::set<std::string> names(const std::string &path) {
    const std::unique_ptr<DIR, int (*)(DIR *)> directory(opendir(path.c_str()), closedir);
    expect(directory != nullptr, path);
    std::set<std::string> names;
    while (const auto *entry = readdir(directory.get())) names.insert(entry->d_name);
    names.erase(".");
    names.erase("..");
    return names;
}

static void list() {
    std::cout << "listed";
    for (const auto &name : names(data)) std::cout << " " << name;
    std::cout << std::endl;
}

int main() {
    put(draft, std::ios::out, "Hello, WASM!");
    std::cout << "wrote 12 bytes" << std::endl;
    put(draft, std::ios::app, " Goodbye.");
    std::cout << "appended 9 bytes" << std::endl;

    expect(std::rename(draft.c_str(), a.c_str()) == 0, "rename");
    put(b, std::ios::out, "");
    list();

    std::string text;
    expect(bool(std::getline(std::ifstream(a), text)), "read");
    std::cout << "read " << text << std::endl;

    struct stat stats;
    expect(stat(a.c_str(), &stats) == 0, "stat");
    const auto changed = std::chrono::system_clock::from_time_t(stats.st_mtime);
    expect(std::chrono::abs(std::chrono::system_clock::now() - changed) < 1min, "a file's time is not the clock's");
    std::cout << "a.txt has " << stats.st_size << " bytes, changed just now" << std::endl;

    expect(std::remove(a.c_str()) == 0 && std::remove(b.c_str()) == 0, "remove");
    expect(!std::ifstream(a), "a deleted file is there");
    list();

    // Without threads there is no std::this_thread::sleep_for either.
    const auto start = std::chrono::steady_clock::now();
    const timespec nap{.tv_nsec = std::chrono::nanoseconds(5ms).count()};
    expect(nanosleep(&nap, nullptr) == 0, "nanosleep");
    expect(std::chrono::steady_clock::now() - start >= 5ms, "woken too early");
    std::cout << "slept" << std::endl;
}
